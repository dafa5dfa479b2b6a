"""All cells of a scale -> results.json: what the page is made of."""

import numpy as np

from compiled import Judge, latency
from figures import Chain, Draws, curve, drift, final, fragility, gains, interval, matched, over_orders, ratio_less_one, spearman
from judging import bits_a_byte, macro_f1
from schedule import MATCHED, best_rates, chains, first, first_stages, laps, planted
from training import GEM_ARMS

ROUND = 5


def rounded(value):
    """Figures to as many digits as mean something; what is compared is compared before."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(v) for v in value]
    return round(float(value), ROUND) if isinstance(value, (float, np.floating)) else value


class Results:
    def __init__(self, stages, name):
        self.stages, self.settings, self.scale, self.name = stages, stages.settings, stages.scale, name
        resamples = self.settings["statistics"]["resamples"]
        self.draws = Draws(stages.judged, resamples)
        self.last_draws = Draws({d: stages.last(d) for d in stages.domains}, resamples)
        self.best, self.gains = best_rates(stages)
        self.bases = {family: stages.base(family) for family in ("dense", "gem")}
        self.runs = chains(self.settings, self.scale, self.best)
        self.chains = {}
        for run in self.runs:
            if run["arm"] != "J":
                self.chains.setdefault(run["arm"], []).append(self.chain(run))

    def family(self, arm):
        return "gem" if arm in GEM_ARMS else "dense"

    def chain(self, run):
        cells = [self.stages.stage(run, k) for k in range(len(run["order"]))]
        return Chain(self.draws, self.stages.domains, self.settings["domains"]["base"], run["order"], cells, self.bases[self.family(run["arm"])])

    # ---- the experiments ---------------------------------------------------------

    def bases_figures(self):
        """Of the bases: bits a byte by domain, the choices, and where tokens go."""
        found = {}
        for family, cell in self.bases.items():
            of = {"bits": {d: bits_a_byte(n, self.stages.judged[d]) for d, n in cell["nats"].items()}, "choice": self.choice(cell),
                  "weights": sum(p.numel() for p in cell["model"].parameters())}
            if family == "gem":
                of["routes"] = shares(cell["routes"], len(self.settings["domains"]["base"]))
            found[family] = of
        return found

    def choice(self, cell):
        """{domain: macro-F1}."""
        return {d: macro_f1([item.answer for item in self.stages.items(d)], found) for d, found in cell["chosen"].items()}

    def sequences(self):
        """Of every arm: l of every order, and the measures over orders with intervals and by order."""
        joint = next((self.stages.stage(run, 0) for run in self.runs if run["arm"] == "J"), None)
        joint = joint and {d: self.draws.bits(d, n) for d, n in joint["nats"].items()}
        found = {}
        for arm, of in self.chains.items():
            measures = {"forgetting": [c.forgetting() for c in of], "backward_transfer": [c.backward() for c in of],
                        "plasticity": [c.plasticity() for c in of], "forward_transfer": [c.forward() for c in of],
                        "final": [final(self.last_draws, c.cells[-1]) for c in of]}
            if joint:
                measures["intransigence"] = [c.intransigence(joint) for c in of]
            choice = [self.choice(c.cells[-1]) for c in of]
            end = of[0].cells[-1]
            found[arm] = {
                "rate": self.best[arm], "measures": {k: interval(over_orders(v)) for k, v in measures.items()},
                "by_order": {k: [interval(one) for one in v] for k, v in measures.items()},
                "l": [[{d: float(v[0]) for d, v in at.items()} for at in c.l] for c in of],
                "choice": choice, "choice_mean": float(np.mean([np.mean(list(c.values())) for c in choice])),
                "weights_trained": end["weights_trained"], "weights_stored": end["weights_stored"],
                "seconds_a_stage": float(np.mean([cell["seconds"] for c in of for cell in c.cells[1:]]))}
            if arm in GEM_ARMS:
                found[arm]["drift"] = [drift(c) for c in of]
                found[arm]["split"] = [self.split(c) for c in of]
                found[arm]["routes"] = shares(end["routes"], len(end["model"].config.domains))
        return found

    def split(self, chain):
        """Loss since a domain was taught, of weights (the old routing forced) and in all."""
        forced = chain.cells[-1]["forced"]
        weights = np.mean([self.draws.bits(d, forced[d])[0] - chain.l[t][d][0] for d, t in chain.older()])
        return {"weights": float(weights), "all": float(-chain.backward()[0])}

    def differences(self):
        """What the verdicts compare, paired: over orders with intervals, and the sign in each order."""
        pairs = [("C", "E"), ("C", "A"), ("F", "A"), ("G", "A"), ("H", "B"), ("B", "A"), ("C", "C0"), ("E", "D")]
        found = {}
        for a, b in pairs:
            if a not in self.chains or b not in self.chains:
                continue
            for measure, of in (("forgetting", Chain.forgetting), ("plasticity", Chain.plasticity),
                                ("final", lambda c: final(self.last_draws, c.cells[-1]))):
                each = [of(x) - of(y) for x, y in zip(self.chains[a], self.chains[b])]
                found[f"{a} - {b}, {measure}"] = {"over orders": interval(over_orders(each)), "by order": [interval(e) for e in each]}
        return found

    def ratios(self):
        """D for each routed arm against A."""
        if "A" not in self.chains:
            return {}
        found, dense = {}, [c.forgetting() for c in self.chains["A"]]
        for arm in ("C", "E", "F", "G", "B", "H"):
            if arm in self.chains:
                each = [ratio_less_one(c.forgetting(), a) for c, a in zip(self.chains[arm], dense)]
                whole = ratio_less_one(over_orders([c.forgetting() for c in self.chains[arm]]), over_orders(dense))
                found[arm] = {"raw": interval(whole), "by order": [interval(e) for e in each]}
        return found

    def first_points(self):
        """{arm: {(rate, share): [orders] of (plasticity, forgetting) as arrays}} of the first stages."""
        base = self.settings["domains"]["base"]
        half = {d: w.first((len(w.ids) + 1) // 2) for d, w in self.stages.judged.items()}
        draws = Draws(half, self.settings["statistics"]["resamples"])
        found = {}
        for run in first_stages(self.settings, self.scale):
            arm, domain = run["arm"], run["order"][0]
            if arm not in MATCHED:
                continue
            cell, before = first(self.stages, run), self.bases[self.family(arm)]
            cut = lambda nats: {d: nats[d][part(len(nats[d]), len(half[d].ids))] for d in nats}
            l0 = {d: draws.bits(d, n) for d, n in cut(before["nats"]).items()}
            for share, nats in [*cell["inside"].items(), (1.0, cut(cell["nats"]))]:
                l = {d: draws.bits(d, n) for d, n in nats.items()}
                point = (l0[domain] - l[domain], np.mean([l[d] - l0[d] for d in base], 0))
                found.setdefault(arm, {}).setdefault((run["rate"], share), []).append(point)
        return found

    def matched(self):
        """D at equal plasticity in the first stage."""
        points = self.first_points()
        if not all(arm in points for arm in MATCHED):
            return None
        means = {arm: {key: tuple(np.mean([p[i] for p in of], 0) for i in (0, 1)) for key, of in found.items()} for arm, found in points.items()}
        at = lambda arm, k: [(float(p[k]), float(f[k])) for p, f in means[arm].values()]
        count = len(next(iter(means["A"].values()))[0])
        each = [matched(at("A", k), at("C", k)) for k in range(count)]
        if each[0][1] <= 0:
            return None  # neither has learnt anything
        orders = len(next(iter(points["A"].values())))
        one = lambda arm, n: [(float(of[n][0][0]), float(of[n][1][0])) for of in points[arm].values()]
        return {"D": interval(np.array([d for d, *_ in each])), "plasticity": interval(np.array([p for _, p, _, _ in each])),
                "forgetting": {"A": each[0][2], "C": each[0][3]}, "by order": [matched(one("A", n), one("C", n))[0] for n in range(orders)],
                "points": {arm: [{"rate": r, "share": s, "plasticity": float(p[0]), "forgetting": float(f[0])} for (r, s), (p, f) in of.items()]
                           for arm, of in means.items()},
                "curves": {arm: curve(at(arm, 0)) for arm in MATCHED}}

    def after_one_stage(self):
        """The paper's fragility: of A after its first stage, perplexity on the new domain and the base's choices; DSI, GG, CDTR."""
        l0 = {d: bits_a_byte(n, self.stages.judged[d]) for d, n in self.bases["dense"]["nats"].items()}
        found = {}
        for chain in self.chains.get("A", []):
            source, cell = chain.order[0], chain.cells[1]
            windows = self.stages.judged[source]
            tokens = sum(len(w) - 1 for w in windows.ids)
            fall = np.exp((self.bases["dense"]["nats"][source].sum() - cell["nats"][source].sum()) / tokens)
            tuned = {d: bits_a_byte(n, self.stages.judged[d]) for d, n in cell["nats"].items()}
            g = gains(l0, tuned, source)
            before, after = (np.mean([self.choice(of)[d] for d in self.settings["domains"]["base"]]) for of in (self.bases["dense"], cell))
            found[source] = {"perplexity_falls_by": float(1 - 1 / fall), "base_choice_falls_by": float(1 - after / max(before, 1e-9)),
                             "gains": g, **fragility(g, source)}
        return found

    # ---- through gemc --------------------------------------------------------------

    def compiled(self, tell):
        """Agreement in f32, gains kept at each width, and whether fragility goes with bits."""
        judge, bits = Judge(self.stages.corpus, self.scale["compiled_tokens"]), self.scale["bits"]
        models = {"dense": self.bases["dense"]["model"], "gem": self.bases["gem"]["model"]}
        for arm in ("A", "C", "F", "G", "H"):
            if arm in self.chains:
                models[arm] = self.chains[arm][0].cells[-1]["model"]
        singles = {c.order[0]: c.cells[1]["model"] for c in self.chains.get("A", [])}
        agreement, at = {}, {}
        every = [*models.items(), *((f"A after {d}", m) for d, m in singles.items())]
        for n, (name, model) in enumerate(every):
            here = judge.here(model)
            for width in bits:
                tell(f"gemc verify: {name} at {width} bits, {n + 1} of {len(every)}")
                f32, found = judge.there(model, width)
                agreement[name] = max(abs(f32[d] / here[d] - 1) for d in here)
                at[name, "f32"], at[name, width] = here, found
        return {"agreement": agreement, "bits": {name: {w: of for (m, w), of in at.items() if m == name} for name, _ in every},
                "kept": self.kept(at, bits), "brittle": self.brittle(at, bits, list(singles))}

    def kept(self, at, bits):
        """Of what an arm gained on new domains from the base to the end, the share that is left at so many bits."""
        new, found = self.settings["domains"]["new"], {}
        for arm in self.chains:
            if (arm, "f32") not in at:
                continue
            base = self.family(arm)
            gain = {w: np.mean([at[base, w][d] - at[arm, w][d] for d in new]) for w in ("f32", *bits)}
            found[arm] = {w: float(gain[w] / gain["f32"]) for w in bits}
        return found

    def brittle(self, at, bits, sources):
        """GG of each source at each width; rho of GG with bits over them, sources drawn anew."""
        table = {s: {w: fragility(gains(at["dense", w], at[f"A after {s}", w], s), s) for w in ("f32", *bits)} for s in sources}
        if len(sources) < 2 or len(bits) < 3:
            return {"table": table, "rho": None}
        random, rho = np.random.default_rng(3), []
        for n in range(self.settings["statistics"]["resamples"] + 1):
            drawn = sources if n == 0 else [sources[i] for i in random.integers(0, len(sources), len(sources))]
            # A source's level is its own; what is asked is whether it moves with bits.
            rows = [(float(w), table[s][w]["GG"] - table[s]["f32"]["GG"]) for s in drawn for w in bits]
            rho.append(spearman(*zip(*rows)) if len({g for _, g in rows}) > 1 else 0.0)
        return {"table": table, "rho": interval(np.array(rho))}

    # ---- long-term degradation ------------------------------------------------------

    def long(self):
        found = {}
        for run in laps(self.settings, self.best):
            chain = self.chain(run)
            length = len(self.settings["domains"]["new"])
            base = self.settings["domains"]["base"]
            per_lap = [float(np.mean([chain.l[k][d][0] - chain.l[0][d][0] for d in base])) for k in range(0, len(run["order"]) + 1, length)]
            found.setdefault(run["arm"], []).append({"order": run["order"][:length], "base_rise_by_lap": per_lap,
                                                     "final": [float(v[0]) for v in chain.l[-1].values()]})
        return found

    def fault(self):
        """A with rate 0: forgetting and plasticity, which must be 0."""
        chain = self.chain(planted(self.settings, self.scale))
        return {"forgetting": float(np.abs(chain.forgetting()).max()), "plasticity": float(np.abs(chain.plasticity()).max())}

    def all(self, tell, with_laps):
        documents = {d: int(len(np.unique(w.documents))) for d, w in self.stages.judged.items()}
        found = {"scale": self.name, "settings": self.scale, "documents": documents, "rates": {"chosen": self.best, "gains": {
            arm: {str(r): g for r, g in of.items()} for arm, of in self.gains.items()}}, "planted_fault": self.fault(),
            "bases": self.bases_figures(), "arms": self.sequences(), "differences": self.differences(), "ratios": self.ratios(),
            "matched": self.matched(), "after_one_stage": self.after_one_stage(), "compiled": self.compiled(tell), "latency": latency()}
        if with_laps:
            found["long"] = self.long()
        return rounded(found)


def part(length, taken):
    """Which windows `Windows.first` takes."""
    return [i * length // taken for i in range(taken)]


def shares(routes, modules):
    """{domain: [layers][modules + 1]}: where tokens of the domain go; the last is the general path alone."""
    found = {}
    for domain, of in routes.items():
        found[domain] = [[float((layer == m).mean()) for m in [*range(modules), -1]] for layer in of]
    return found
