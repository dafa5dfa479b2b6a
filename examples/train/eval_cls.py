"""The saved gem-cls checkpoint -> every figure that docs/results/gem-cls.md holds it to.

    python examples/train/eval_cls.py [--checkpoint examples/models/gem-cls] [--baseline] [--json FILE]

Everything is measured on the weights as they stand in the file, in f32, on whole splits without padding.
`--baseline` fits TF-IDF + logistic regression on the training split (minutes); its answer is kept.
Writes `reference_f1.json` into the checkpoint: macro-F1 of the committed texts and of the whole test split.
"""

import argparse
import json
from pathlib import Path

import torch
from cls_data import CACHE, DOMAIN_IDS, DOMAINS, LABELS, Encoded, batches, load_tokenizer, read_rows
from gem import GemConfig, build, load
from train_cls import ENCODER, HOME, TOKENS_PER_BATCH, eight_bit_logits, plain_logits

OUT = Path(__file__).resolve().parents[1] / "models" / "gem-cls"


# ---- scores ----------------------------------------------------------------------------------------

def f1_per_label(labels, guess):
    """[labels] F1; a label that neither occurs nor is guessed counts 0."""
    n = len(LABELS)
    table = torch.bincount(labels * n + guess, minlength=n * n).view(n, n).double()
    return 2 * table.diag() / (table.sum(0) + table.sum(1)).clamp(min=1)


def present_macro_f1(labels, guess):
    """Macro-F1 over the labels that occur."""
    return f1_per_label(labels, guess)[labels.unique()].mean().item()


def mutual_information(table):
    """Normalised mutual information (arithmetic mean) of a table of joint counts."""
    p = table.double() / table.sum()
    rows, columns = p.sum(1), p.sum(0)
    entropy = lambda q: -(q[q > 0] * q[q > 0].log()).sum()
    joint = entropy(p.flatten())
    mean = (entropy(rows) + entropy(columns)) / 2
    return ((entropy(rows) + entropy(columns) - joint) / mean).item() if mean > 0 else 0.0


# ---- one pass over a split ------------------------------------------------------------------------

class Tally:
    """What the router and SCAR did on a split: counts by token, by pair of tokens, and by text."""

    def __init__(self, model):
        self.model = model
        self.tokens = self.fired = self.visible = self.pairs = 0
        self.fired_by_domain = torch.zeros(len(DOMAINS), 2)
        self.chosen = torch.zeros(len(DOMAINS), len(DOMAINS) + 1)
        self.load = torch.zeros(model.config.router.clusters, dtype=torch.long)

    def add(self, routing, labels):
        flag, domains = routing.flag, DOMAIN_IDS[labels]
        self.tokens += flag.numel()
        self.fired += flag.sum().item()
        self.fired_by_domain.index_add_(0, domains, torch.stack([flag.sum(1), (~flag).sum(1)], 1).float())
        wide = len(DOMAINS) + 1
        pairs = domains[:, None] * wide + routing.domain
        self.chosen += torch.bincount(pairs.flatten(), minlength=len(DOMAINS) * wide).view(-1, wide)
        self.load += torch.bincount(routing.cluster.flatten(), minlength=len(self.load))
        mask = self.model.model.scar.visible(routing, None)
        self.visible, self.pairs = self.visible + mask.sum().item(), self.pairs + mask.numel()

    def figures(self):
        fired = self.chosen[:, :-1]
        share = self.fired_by_domain[:, 0] / self.fired_by_domain.sum(1).clamp(min=1)
        modules = fired.sum(0) / fired.sum().clamp(min=1)
        return {
            "fired": self.fired / self.tokens,
            "fired_by_domain": dict(zip(DOMAINS, share.tolist())),
            "module_share_of_fired": dict(zip(DOMAINS, modules.tolist())),
            "fired_module_is_the_labels_domain": (fired.diag().sum() / fired.sum().clamp(min=1)).item(),
            "nmi_domain_and_choice": mutual_information(self.chosen),
            "scar_mask_density": self.visible / self.pairs,
            "clusters_occupied": (self.load > 0).float().mean().item(),
            "clusters_below_10_percent_of_mean": int((self.load < 0.1 * self.load.float().mean()).sum()),
        }


@torch.no_grad()
def logits_of(forward, encoded):
    """[rows, labels] of a split; `forward` maps (ids, row numbers) to logits."""
    logits = torch.empty(len(encoded), len(LABELS))
    for rows, ids in batches(encoded, range(len(encoded)), 4 * TOKENS_PER_BATCH):
        logits[rows] = forward(ids, rows)
    return logits


def run_student(model, encoded, tally=None, **options):
    def forward(ids, rows):
        out = model(ids, **options)
        if tally:
            tally.add(out.routing["final"], encoded.labels[rows])
        return out.logits

    return logits_of(forward, encoded)


# ---- the parts of the report ------------------------------------------------------------------------

def committed_rows(checkpoint, folder):
    return [json.loads(line) for domain in DOMAINS
            for line in (checkpoint / folder / f"{domain}.jsonl").read_text(encoding="utf-8").splitlines()]


def ablations(model, test):
    """Macro-F1 with parts switched off, exchanged or quantised: what do they carry?"""
    off = [None] * len(DOMAINS)
    neighbour = [(m + 1) % len(DOMAINS) for m in range(len(DOMAINS))]
    score = lambda **options: present_macro_f1(test.labels, run_student(model, test, **options).argmax(-1))
    out = {"modules_off": score(module_map=off), "modules_exchanged": score(module_map=neighbour)}
    visible = model.model.scar.visible
    itself = lambda routing, real: torch.eye(routing.flag.shape[1], dtype=torch.bool).expand(len(routing.flag), -1, -1)
    model.model.scar.visible = itself
    out["scar_sees_only_itself"] = score()
    model.model.scar.visible = visible
    return out


def teacher_logits(test):
    """Of the plain encoder, its weights rounded to bf16 as the student's are; kept, for they do not change."""
    weights, kept = HOME / "teacher.pt", HOME / "teacher.test.pt"
    if not kept.exists() or kept.stat().st_mtime < weights.stat().st_mtime:
        teacher = build(GemConfig(**ENCODER))
        state = torch.load(weights, weights_only=True)
        teacher.load_state_dict({name: value.bfloat16().float() for name, value in state.items()})
        torch.save(logits_of(lambda ids, rows: plain_logits(teacher, ids), test), kept)
    return torch.load(kept, weights_only=True)


def baseline():
    """TF-IDF + logistic regression on the same split, several settings, the best on validation counts."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score

    split = {name: read_rows(name) for name in ("train", "validation", "test")}
    texts = {name: [row["text"] for row in rows] for name, rows in split.items()}
    labels = {name: [row["label"] for row in rows] for name, rows in split.items()}
    results = []
    words = {"ngram_range": (1, 1)}, ((3, None), (10, None), (10, "balanced"), (30, None))
    pairs = {"ngram_range": (1, 2), "min_df": 2}, ((3, None), (10, None))
    for options, settings in (words, pairs):
        vectors = TfidfVectorizer(sublinear_tf=True, **options).fit(texts["train"])
        matrix = {name: vectors.transform(some) for name, some in texts.items()}
        for C, weight in settings:
            model = LogisticRegression(C=C, class_weight=weight, max_iter=300).fit(matrix["train"], labels["train"])
            scores = {name: f1_score(labels[name], model.predict(matrix[name]), average="macro")
                      for name in ("validation", "test")}
            results.append({"words": options["ngram_range"][1], "C": C, "class_weight": weight, **scores})
            print(results[-1], flush=True)
    return {"best_on_validation": max(results, key=lambda r: r["validation"]), "all": results}


def report(checkpoint, with_baseline):
    model, tokenizer = load(checkpoint), load_tokenizer(checkpoint / "tokenizer.json")
    test = Encoded(tokenizer, read_rows("test"))
    part = Encoded(tokenizer, read_rows("test")[::8])  # for what needs one more pass each
    tally = Tally(model)
    logits = run_student(model, test, tally)
    guess, plain = logits.argmax(-1), teacher_logits(test).argmax(-1)
    exact, quantised = run_student(model, part), logits_of(lambda ids, rows: eight_bit_logits(model, ids), part)
    domain_right = (DOMAIN_IDS[guess] == DOMAIN_IDS[test.labels]).float().mean().item()
    figures = {
        "test_rows": len(test),
        "test_macro_f1": present_macro_f1(test.labels, guess),
        "test_accuracy": (guess == test.labels).float().mean().item(),
        "test_domain_accuracy": domain_right,
        "teacher_test_macro_f1": present_macro_f1(test.labels, plain),
        "teacher_test_accuracy": (plain == test.labels).float().mean().item(),
        "f1_per_label": dict(zip(LABELS, f1_per_label(test.labels, guess).tolist())),
        "teacher_f1_per_label": dict(zip(LABELS, f1_per_label(test.labels, plain).tolist())),
        "routing": tally.figures(),
        "eighth_of_test": {
            "rows": len(part), "macro_f1": present_macro_f1(part.labels, exact.argmax(-1)),
            "eight_bit_macro_f1": present_macro_f1(part.labels, quantised.argmax(-1)),
            "eight_bit_label_agreement": (quantised.argmax(-1) == exact.argmax(-1)).float().mean().item(),
            "eight_bit_mean_squared_change": (quantised - exact).pow(2).mean().item(),
            **ablations(model, part)},
    }
    for folder in ("evaluation", "calibration"):
        some = Encoded(tokenizer, committed_rows(checkpoint, folder))
        found = run_student(model, some).argmax(-1)
        figures[folder] = {"rows": len(some), "macro_f1": present_macro_f1(some.labels, found),
                           "accuracy": (found == some.labels).float().mean().item()}
    kept = CACHE / "gem-cls" / "baseline.json"
    if with_baseline:
        kept.write_text(json.dumps(baseline(), indent=2))
    if kept.exists():
        figures["baseline"] = json.loads(kept.read_text())
    return figures


def bars(figures):
    """(what, figure, bound, holds) of each bar."""
    f1, teacher = figures["test_macro_f1"], figures["teacher_test_macro_f1"]
    rows = [("macro-F1 against the plain encoder", f1 - teacher, ">= -0.01", f1 - teacher >= -0.01),
            ("share of tokens above the threshold", figures["routing"]["fired"], "0.40 to 0.95",
             0.40 <= figures["routing"]["fired"] <= 0.95)]
    if "baseline" in figures:
        gap = f1 - figures["baseline"]["best_on_validation"]["test"]
        rows.insert(0, ("macro-F1 against TF-IDF + logistic regression", gap, ">= -0.03", gap >= -0.03))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--checkpoint", type=Path, default=OUT)
    parser.add_argument("--baseline", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write all figures here")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    figures = report(args.checkpoint, args.baseline)
    reference = {
        "weights": "model.safetensors, run in f32 by PyTorch, no padding",
        "labels": "macro-F1 over the labels that occur",
        **{name: {"rows": figures[name]["rows"], "macro_f1": round(figures[name]["macro_f1"], 6),
                  "accuracy": round(figures[name]["accuracy"], 6)} for name in ("evaluation", "calibration")},
        "test_split": {"rows": figures["test_rows"], "macro_f1": round(figures["test_macro_f1"], 6),
                       "accuracy": round(figures["test_accuracy"], 6)},
    }
    (args.checkpoint / "reference_f1.json").write_text(json.dumps(reference, indent=2) + "\n")
    text = json.dumps(figures, indent=2)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")
    for what, figure, bound, holds in bars(figures):
        print(f"{'holds ' if holds else 'FAILS '} {what}: {figure:.4f} ({bound})")


if __name__ == "__main__":
    main()
