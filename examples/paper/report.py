"""results.json -> docs/results/paper.md and its pictures, the same bytes for the same figures.

    python3 examples/paper/report.py [--results FILE] [--out docs/results] [--check]

`--check` writes nothing and fails where the page is not what the results give. Needs Python alone.
"""

import argparse
import json
import tomllib
from pathlib import Path

import pictures
from latency import ROUTING, SCAR

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def shown(value, digits=3):
    """A figure with its interval."""
    if value is None:
        return "–"
    return f"{value[0]:.{digits}f} ({value[1]:.{digits}f} to {value[2]:.{digits}f})"


def signs(by_order):
    """`+`, `-` or `0` (its interval holds 0) of each order."""
    return " ".join("+" if low > 0 else "-" if high < 0 else "0" for _, low, high in by_order)


def one_sign(by_order, sign):
    """Of the figure, in every order."""
    return all(sign * is_ > 0 for is_, _, _ in by_order)


class Page:
    def __init__(self, results, settings, latency):
        self.r, self.settings, self.measured = results, settings, latency
        self.arms = results["arms"]
        self.domains = settings["domains"]["base"] + settings["domains"]["new"]

    # ---- verdicts, by the rules of protocol.toml -------------------------------------

    def less(self, pair, measure="forgetting", sign=-1):
        """Whether the first arm of `a - b` has less (or more) in all orders, and over them; None where it was not run."""
        found = self.r["differences"].get(f"{pair}, {measure}")
        if found is None:
            return None
        _, low, high = found["over orders"]
        return (high < 0 if sign < 0 else low > 0) and one_sign(found["by order"], sign)

    def matched(self, arm):
        return (self.r["matched"] or {}).get(arm)

    def verdict_43(self):
        dense = self.arms.get("A", {}).get("measures", {}).get("forgetting")
        matched = self.matched("C")
        if dense is None or not matched:
            return "not run"
        if matched["D"] is None or dense[0] < self.settings["statistics"]["nothing_to_forget"]:
            return "nothing to forget: no ratio"
        is_, low, high = matched["D"]
        if not all(d * is_ > 0 for d in matched["by order"]):
            return "not decided: orders differ in sign"
        return "holds" if low >= 0.43 else "compatible" if high >= 0.43 else "refuted at this scale"

    def verdict_routing(self):
        less, final = self.less("C - E"), self.less("C - E", "final")
        if less is None:
            return "not run"
        return "credited" if less and final else "no credit: that it is better than an adapter for each window is not shown in " + " and ".join(
            w for w, ok in (("forgetting", less), ("the final mean", final)) if not ok)

    def verdict_distillation(self):
        dense, routed = self.less("G - A"), self.less("H - B")
        if dense is None:
            return "not run"
        if not dense:
            return "no credit: that A forgets less with distillation is not shown"
        return "not decided: H and B were not run" if routed is None else "credited" if routed else "no credit: that H forgets less than B is not shown"

    def verdict_brittle(self):
        rho = self.r["compiled"]["brittle"]["rho"]
        return "not run" if rho is None else "holds" if rho[2] < 0 else "not seen"

    def verdict_range(self, values, low, high):
        """`values`: with intervals."""
        inside, apart = sum(low <= v[0] <= high for v in values), sum(v[2] < low or v[1] > high for v in values)
        return f"in range for {inside} of {len(values)} domains, outside of it by their interval for {apart}"

    # ---- sections ---------------------------------------------------------------------

    def claims(self):
        one = self.r["after_one_stage"]
        falls = [v["perplexity_falls_by"] for v in one.values()]
        choice = [v["base_choice_falls_by"] for v in one.values()]
        matched, raw = self.matched("C"), self.r["ratios"].get("C", {}).get("raw")
        latency = self.r["latency"]
        f1 = self.arms.get("C", {}).get("choice_mean")
        times = ", ".join(f"{name} {of['milliseconds']:.1f} ms" for name, of in latency.items())
        percents = lambda values: ", ".join(f"{100 * v[0]:.1f} % ({100 * v[1]:.0f} to {100 * v[2]:.0f})" for v in values) or "–"
        kept = self.r["compiled"]["kept"]
        rows = [
            ["forgetting is prevented by 43 % (abstract: by the weighted distillation framework)", "D of C against A at equal plasticity",
             shown(matched and matched["D"]), self.verdict_43()],
            ["the same, each arm at its own rate", "D of C against A, raw", shown(raw), "does not decide: an arm that learns less forgets less"],
            ["routing is what protects", "C against E: forgetting and final mean, every order",
             shown(self.r["differences"].get("C - E, forgetting", {}).get("over orders")), self.verdict_routing()],
            ["distillation is what protects", "G against A, H against B: forgetting, every order",
             shown(self.r["differences"].get("G - A, forgetting", {}).get("over orders")), self.verdict_distillation()],
            ["usual tuning lowers target perplexity by 18 to 25 %", "A after one stage, on its domain", percents(falls), self.verdict_range(falls, 0.18, 0.25)],
            ["and general F1 by 12 to 29 %", "A after one stage, choice-F1 on the base's domains", percents(choice), self.verdict_range(choice, 0.12, 0.29)],
            ["F1 of 0.89 over domains", "choice-F1 of C at the end, mean over domains (chance 0.25)", "–" if f1 is None else f"{f1:.3f}",
             "not comparable: another task; the authors' code has no such run"],
            ["below 100 ms on a Raspberry Pi 4 and a Pixel 6", "gem-cls, 128 tokens at 4.25 bits, projected", times,
             "holds, projected" if all(of["milliseconds"] < 100 for of in latency.values()) else "fails, projected"],
            ["DSI, GG and CDTR go with compression", "rho of GG with bits", shown(self.r["compiled"]["brittle"]["rho"]), self.verdict_brittle()],
            ["tuned models survive quantisation", "share of the gain on new domains that is left at the least bits",
             ", ".join(f"{arm} {100 * list(of.values())[-1][0]:.0f} %" for arm, of in kept.items()), "reported"]]
        return table(["the paper says", "measured here", "seen (95 %)", "verdict by protocol.toml"], rows)

    def measures(self):
        names = ["forgetting", "plasticity", "backward_transfer", "forward_transfer", "final", "intransigence"]
        names = [n for n in names if any(n in of["measures"] for of in self.arms.values())]
        rows = [[arm, f"{of['rate']:g}", *(shown(of["measures"].get(n)) for n in names), f"{of['choice_mean']:.3f}", f"{of['weights_trained']:,}",
                 f"{of['weights_stored']:,}", f"{of['seconds_a_stage']:.0f}"] for arm, of in self.arms.items()]
        for name, of in self.r["bounds"].items():
            rows.append([name, "", *(shown(of["final"]) if n == "final" else "" for n in names), f"{of['choice_mean']:.3f}", "", "", ""])
        return table(["arm", "rate", *(n.replace("_", " ") for n in names), "choice-F1", "weights trained", "numbers kept", "seconds a stage"], rows)

    def orders(self):
        rows = []
        for name, of in self.r["differences"].items():
            rows.append([name, shown(of["over orders"]), *(shown(o) for o in of["by order"]), signs(of["by order"])])
        count = len(next(iter(self.r["differences"].values()))["by order"]) if rows else 0
        return table(["difference, bits a byte", "over orders", *(f"order {n + 1}" for n in range(count)), "signs"], rows)

    def drift(self):
        rows = [[arm, " ".join(f"{100 * v:.1f}" for v in of["drift"]), " ".join(f"{v['weights']:.3f}" for v in of["split"]),
                 " ".join(f"{v['all']:.3f}" for v in of["split"])] for arm, of in self.arms.items() if "drift" in of]
        return table(["arm", "tokens of older domains whose module changed, %, by order", "loss since they were taught with the routing of then",
                      "loss in all"], rows)

    def kept(self):
        compiled = self.r["compiled"]
        widths = self.r["settings"]["bits"]
        rows = [[arm, *(f"{100 * of[w][0]:.1f} ({100 * of[w][1]:.0f} to {100 * of[w][2]:.0f})" for w in widths)] for arm, of in compiled["kept"].items()]
        return table(["gain kept, %", *(f"{w} bits" for w in widths)], rows)

    def brittle(self):
        widths = ["f32", *self.r["settings"]["bits"]]
        rows = []
        for source, of in self.r["compiled"]["brittle"]["table"].items():
            for name in ("DSI", "GG", "CDTR"):
                values = [of[w][name] for w in widths]
                rows.append([source, name, *("–" if v is None else f"{v:.4f}" for v in values)])
        return table(["source", "our definition of", *widths], rows)

    def agreement(self):
        worst = max(self.r["compiled"]["agreement"].values())
        return f"PyTorch's and gemc's f32 bits a byte differ by at most {100 * worst:.4f} % over {len(self.r['compiled']['agreement'])} checkpoints."

    def long(self):
        rows = [[arm, n + 1, " ".join(f"{v[0]:.3f}" for v in of["rise"]), shown(of["slope_of_rise"]), " ".join(f"{v[0]:.3f}" for v in of["gained"]),
                 shown(of["slope_of_gain"])] for arm, each in self.r["long"].items() for n, of in enumerate(each)]
        return table(["arm", "order", "rise on the base's domains after 0, 1, 2, 3 laps", "a lap", "gained by a lap's stages", "a lap"], rows)

    def latency(self):
        """The third experiment, where it was run."""
        if self.measured is None:
            return ["Not run."]
        steps, devices = [], []
        for width, variants in self.measured["widths"].items():
            for name, of in variants.items():
                for context in (key for key in of if key.isdigit()):
                    at = of[context]
                    row = [width, context, name]
                    for kind in ("prefill", "decode"):
                        low, high = at[kind]["spread"]
                        row.append(f"{at[kind]['all']:.2f} ({low:.2f} to {high:.2f})")
                        row += [f"{100 * sum(at[kind].get(part, 0.0) for part in parts) / at[kind]['all']:.1f}" for parts in (ROUTING, SCAR)]
                    steps.append([*row, f"{at['kv_bytes'] / 1e6:.1f}"])
                times = [f"{found['prompt_ms']:.1f} / {found['token_ms']:.2f}" for found in of["projected"].values()]
                devices.append([width, name, *times])
        threads, names = self.measured["threads"], list(next(iter(next(iter(self.measured["widths"].values())).values()))["projected"])
        return [f"Random weights in gem-lm's proportions, {self.measured['layers']} layers of which one has SCAR, {self.measured['bits']} bits, {threads} threads of the",
                "machine that the figures were made on; medians of rounds with the variants in turn. Every token fires: by flag it sees all before it, by domain",
                "about one in eight; gem-lm's masks lie between. Parts are shares of the time of a step.", "",
                table(["width", "context", "variant", "prefill, ms", "routing, %", "SCAR, %", "decode, ms", "routing, %", "SCAR, %", "keys and values, MB"], steps),
                "Projected, 128 tokens at once / a token at position 512, ms:", "", table(["width", "variant", *names], devices)]

    def pictures(self):
        found = {"plane.svg": pictures.plane({a: (of["measures"]["plasticity"], of["measures"]["forgetting"]) for a, of in self.arms.items()})}
        for arm, of in (self.r["matched"] or {}).items():
            names = ("A", arm)
            found[f"matched-{arm}.svg"] = pictures.curves(dict(zip(names, of["points"])), dict(zip(names, of["curves"])), of["plasticity"][0])
        for arm, of in self.arms.items():
            l, names = of["l"][0], self.settings["domains"]["orders"][0]
            rise = [[at[d] - l[0][d] for d in self.domains] for at in l]
            largest = max(1e-9, max(abs(v) for row in rise for v in row))
            found[f"matrix-{arm}.svg"] = pictures.matrix(
                ["base", *(f"after {d}" for d in names)], self.domains, [[v / largest for v in row] for row in rise],
                [[f"{v:+.3f}" for v in row] for row in rise], f"arm {arm}, order 1: change of bits a byte since the base")
        for name, of in (("base", self.r["bases"]["gem"]), *((a, v) for a, v in self.arms.items() if "routes" in v)):
            found[f"routes-{name}.svg"] = self.routes(of["routes"], name)
        return found

    def routes(self, routes, name):
        """Mean over layers of where each domain's tokens go."""
        count = len(next(iter(routes.values()))[0]) - 1
        order = self.settings["domains"]["base"] + self.settings["domains"]["orders"][0]
        means = [[sum(layer[m] for layer in routes[d]) / len(routes[d]) for m in range(count + 1)] for d in order]
        columns = [*order[:count], "general alone"]
        return pictures.matrix(order, columns, [[-v for v in row] for row in means], [[f"{100 * v:.0f} %" for v in row] for row in means],
                               f"where tokens go, mean over layers: {name}")

    def equal(self, arm, of):
        """D of first stages, in words."""
        d = f"D {shown(of['D'])}" if of["D"] else "no ratio, for one of them has nothing to show"
        return (f"Equal plasticity, first stages: at {of['plasticity'][0]:.3f} A forgets {of['forgetting']['A']:.3f} and {arm} {of['forgetting']['other']:.3f}; {d}; by order "
                f"{', '.join(f'{v:.2f}' for v in of['by order'])}; A had less than {self.settings['statistics']['nothing_to_forget']} to forget in "
                f"{100 * of['draws_with_nothing_to_forget']:.0f} % of draws.\n")

    def text(self):
        s, scale = self.settings, self.r["settings"]
        ends = self.r["rates"]["at an end"]
        lines = [
            "# Fragile Mastery, put to the test", "",
            "Made by `examples/paper/report.py` from `examples/paper/results.json`; a test holds the page to it. What is run, measured and how it is judged",
            f"stands in `examples/paper/protocol.toml`, committed before the first run. Scale: `--{self.r['scale']}`; stages of {scale['stage_tokens']:,} tokens,",
            f"bases of {scale['base_tokens']:,}, {scale['orders']} orders. Figures in bits a byte, with 95 % intervals by drawing documents and orders anew.", "",
            "## Verdicts", "", self.claims(),
            *(self.equal(arm, of) for arm, of in (self.r["matched"] or {}).items()),
            *([f"The best rate of {', '.join(ends)} is at an end of those tried.", ""] if ends else []),
            "What was guessed before the first run: " + s["guess"]["text"] + ".", "",
            "## Arms", "", *(f"- {name}: {what}" for name, what in s["arms"].items() if name in self.arms or name == "Z"), "", self.measures(),
            "![forgetting against plasticity](paper/plane.svg)", "",
            *(f"![first stages of A and {arm} at every rate](paper/matched-{arm}.svg)\n" for arm in self.r["matched"] or {}),
            "## Differences, by order", "", self.orders(),
            "## Routing", "", "![where the base's tokens go](paper/routes-base.svg)", "",
            *(f"![where tokens go after the last stage of {a}](paper/routes-{a}.svg)\n" for a, of in self.arms.items() if "routes" in of), self.drift(),
            "## What each stage does to each domain", "", *(f"![arm {a}](paper/matrix-{a}.svg)\n" for a in self.arms),
            "## Quantised", "", self.agreement(), "", self.kept(), self.brittle(),
            *(["## Three laps", "", self.long()] if "long" in self.r else []),
            "## What routing and SCAR cost", "", *self.latency(), "",
            "## What stands against these figures", "",
            "- Frozen parts cannot forget: what C loses is what its routers give to a new module. Its forgetting would be 0 by construction with perfect ones.",
            "- Routers are taught the names of domains, and a window has one domain.",
            f"- GEM stores {self.r['bases']['gem']['weights'] / self.r['bases']['dense']['weights']:.1f} times the dense twin's weights before the first stage, and grows.",
            "- Embeddings are tied and frozen in C and E, which is a handicap on multilingual.",
            "- The tokenizer has seen all domains; training and judged text come from the same packages, never from the same document.",
            "- D and E do not go through gemc: an adapter is a part of the dense twin's weights there.",
            "- Training windows are 257 tokens of the training stream and may cross the ends of documents.",
            "- E's selector reads a whole window before it is judged on it, which C's routers do not.",
            f"- Models of {self.r['bases']['dense']['weights'] / 1e6:.1f} million weights and one seed an order say nothing about large ones.",
            f"- The planted fault (arm A with rate 0) gave forgetting {self.r['planted_fault']['forgetting']:g} and plasticity {self.r['planted_fault']['plasticity']:g}.", "",
            "## To repeat it", "", "```sh", "python3 examples/train/fetch_corpus.py && python3 examples/train/tokenizer.py",
            f"python3 examples/paper/run --{self.r['scale']} --out examples/paper/results.json", "python3 examples/paper/report.py", "```", ""]
        return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--results", type=Path, default=HERE / "results.json")
    parser.add_argument("--latency", type=Path, default=HERE / "latency.json", help="what latency.py found")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results", help="folder of paper.md and paper/")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    latency = json.loads(args.latency.read_text()) if args.latency.exists() else None
    page = Page(json.loads(args.results.read_text()), tomllib.loads((HERE / "protocol.toml").read_text()), latency)
    files = {"paper.md": page.text(), **{f"paper/{name}": svg for name, svg in page.pictures().items()}}
    if args.check:
        wrong = [name for name, text in files.items() if not (args.out / name).exists() or (args.out / name).read_text() != text]
        if wrong:
            raise SystemExit(f"{', '.join(wrong)}: not what {args.results.name} gives; run examples/paper/report.py")
        return
    (args.out / "paper").mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (args.out / name).write_text(text)


if __name__ == "__main__":
    main()
