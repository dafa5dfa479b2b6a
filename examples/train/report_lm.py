"""figures.json of eval_lm.py -> the tables of docs/results/gem-lm.md, in Markdown on standard output.

    python examples/train/report_lm.py figures.json
"""

import json
import math
import sys


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def bars(figures):
    return table(["bar", "figure", "holds"],
                 [[b["bar"], b["figure"], "yes" if b["holds"] else "**no**"] for b in figures["bars"]])


def perplexity(figures):
    names = ["model", "trigram", "trigram, whole corpus", "unigram"]
    ppl = figures["perplexity"]
    rows = [[d, v["tokens"], *(f"{v[n]:.2f}" for n in names), f"{v['bits_per_byte']:.3f}"] for d, v in ppl.items()]
    mean = lambda n: math.exp(sum(math.log(v[n]) for v in ppl.values()) / len(ppl))
    bits = sum(v["bits_per_byte"] for v in ppl.values()) / len(ppl)
    rows.append(["geometric mean", "", *(f"{mean(n):.2f}" for n in names), f"{bits:.3f} (mean)"])
    return table(["domain", "predicted tokens", "gem-lm", "trigram, drawn tokens", "trigram, whole corpus", "unigram",
                  "bits per byte"], rows)


def ablations(figures):
    domains = list(figures["perplexity"])
    return table(["change", *domains],
                 [[name, *(f"{c:.3f}" for c in costs)] for name, costs in figures["ablations"].items()])


def layers(figures):
    rows = []
    for l, v in figures["layers"].items():
        density = v.get("density", {})
        rows.append([l, f"{100 * v['fired']:.1f}", " ".join(f"{100 * s:.1f}" for s in v["load"]),
                     f"{v['nmi_domain']:.3f}", f"{v['nmi_domain_first']:.3f}",
                     f"{v['nmi_next']:.3f}" if "nmi_next" in v else "", f"{v['hit']:.3f}",
                     f"{density['cluster_or_domain']:.3f}" if density else "",
                     f"{density['cluster_or_flag']:.3f}" if density else "",
                     f"{100 * v['clusters_used']:.1f}" if density else ""])
    return table(["layer", "fired %", "load of modules, % of fired", "NMI domain, choice", "the same of argmax p",
                  "NMI with next layer", "argmax p = domain", "density cluster_or_domain", "density cluster_or_flag",
                  "clusters used %"], rows)


def fired(figures):
    domains = list(figures["perplexity"])
    return table(["layer", *domains], [[l, *(f"{100 * f:.1f}" for f in v["fired_by_domain"])]
                                       for l, v in figures["layers"].items()])


def main():
    figures = json.loads(open(sys.argv[1]).read())
    for title, part in (("Bars", bars), ("Perplexity", perplexity), ("Ablations, nats per token", ablations),
                        ("Routing", layers), ("Tokens that fire by domain, %", fired)):
        print(f"## {title}\n\n{part(figures)}")


if __name__ == "__main__":
    main()
