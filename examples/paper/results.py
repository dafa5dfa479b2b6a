"""All cells of a scale -> results.json: what the page is made of."""

import numpy as np

from compiled import Judge, latency
from figures import Chain, Draws, curve, drift, final, fragility, gains, interval, matched, over_orders, ratio_less_one, spearman
from judging import macro_f1, right
from schedule import at_an_end, best_rates, chains, first, first_stages, laps, planted
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
        self.last_draws = Draws(stages.last, resamples)
        self.best, self.gains = best_rates(stages)
        self.bases = {family: stages.base(family) for family in ("dense", "gem")}
        self.runs = chains(self.settings, self.scale, self.best)
        self.joint = next((stages.stage(run, 0) for run in self.runs if run["arm"] == "J"), None)
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
            of = {"bits": {d: float(self.draws.bits(d, n)[0]) for d, n in cell["nats"].items()}, "choice": self.choice(cell["chosen"]),
                  "final": interval(final(self.last_draws, cell)), "weights": sum(p.numel() for p in cell["model"].parameters())}
            if family == "gem":
                of["routes"] = shares(cell["routes"], len(self.settings["domains"]["base"]))
            found[family] = of
        return found

    def choice(self, chosen):
        """{domain: macro-F1}."""
        return {d: macro_f1([item.answer for item in self.stages.items[d]], found) for d, found in chosen.items()}

    def sequences(self):
        """Of every arm: l of every order, and the measures over orders with intervals and by order."""
        joint = self.joint and {d: self.draws.bits(d, n) for d, n in self.joint["nats"].items()}
        found = {}
        for arm, of in self.chains.items():
            measures = {"forgetting": [c.forgetting() for c in of], "backward_transfer": [c.backward() for c in of],
                        "plasticity": [c.plasticity() for c in of], "forward_transfer": [c.forward() for c in of],
                        "final": [final(self.last_draws, c.cells[-1]) for c in of]}
            if joint:
                measures["intransigence"] = [c.intransigence(joint) for c in of]
            choice = [self.choice(c.cells[-1]["chosen"]) for c in of]
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

    def bounds(self):
        """What all domains at once reach, and the base untouched."""
        cells = {"Z": self.bases["dense"], "J": self.joint}
        return {name: {"final": interval(final(self.last_draws, cell)), "choice_mean": float(np.mean(list(self.choice(cell["chosen"]).values())))}
                for name, cell in cells.items() if cell}

    def ratios(self):
        """D of each arm against A, each at its own rate; none where A has nothing to forget."""
        if "A" not in self.chains:
            return {}
        found, dense = {}, [c.forgetting() for c in self.chains["A"]]
        enough = over_orders(dense)[0] >= self.settings["statistics"]["nothing_to_forget"]
        for arm in ("C", "E", "F", "G", "B", "H"):
            if arm in self.chains:
                each = [ratio_less_one(c.forgetting(), a) for c, a in zip(self.chains[arm], dense)]
                whole = ratio_less_one(over_orders([c.forgetting() for c in self.chains[arm]]), over_orders(dense))
                found[arm] = {"raw": interval(whole) if enough else None, "by order": [interval(e) for e in each]}
        return found

    def first_points(self):
        """{arm: {(rate, share): [orders] of (plasticity, forgetting) as arrays}} of the first stages."""
        base, found = self.settings["domains"]["base"], {}
        for run in first_stages(self.settings, self.scale):
            arm, domain = run["arm"], run["order"][0]
            if arm not in self.scale["matched"]:
                continue
            cell, before = first(self.stages, run), self.bases[self.family(arm)]
            l0 = {d: self.draws.bits(d, n) for d, n in before["nats"].items()}
            for share, nats in [*cell["inside"].items(), (1.0, cell["nats"])]:
                l = {d: self.draws.bits(d, n) for d, n in nats.items()}
                point = (l0[domain] - l[domain], np.mean([l[d] - l0[d] for d in base], 0))
                found.setdefault(arm, {}).setdefault((run["rate"], share), []).append(point)
        return found

    def matched(self):
        """{arm: D against A at equal plasticity in the first stage}; none where neither has learnt anything, or A has nothing to forget."""
        points = self.first_points()
        return {arm: self.matched_with(points["A"], points[arm]) for arm in points if arm != "A" and "A" in points}

    def matched_with(self, dense, other):
        means = [{key: tuple(over_orders([p[i] for p in of]) for i in (0, 1)) for key, of in found.items()} for found in (dense, other)]
        at = lambda of, k: [(float(p[k]), float(f[k])) for p, f in of.values()]
        count = len(next(iter(means[0].values()))[0])
        each = [matched(at(means[0], k), at(means[1], k)) for k in range(count)]
        least = self.settings["statistics"]["nothing_to_forget"]
        enough = each[0][1] > 0 and each[0][2] >= least
        orders = len(next(iter(dense.values())))
        one = lambda found, n: [(float(of[n][0][0]), float(of[n][1][0])) for of in found.values()]
        shown = [[{"rate": r, "share": s, "plasticity": float(p[0]), "forgetting": float(f[0])} for (r, s), (p, f) in of.items()] for of in means]
        return {"D": interval(np.array([d for d, *_ in each])) if enough else None, "plasticity": interval(np.array([p for _, p, _, _ in each])),
                "forgetting": {"A": each[0][2], "other": each[0][3]}, "draws_with_nothing_to_forget": float(np.mean([f < least for _, _, f, _ in each[1:]])),
                "by order": [matched(one(dense, n), one(other, n))[0] for n in range(orders)], "points": shown,
                "curves": [curve(at(of, 0)) for of in means]}

    def after_one_stage(self):
        """The paper's fragility: of A after its first stage, perplexity on the new domain and the base's choices; DSI, GG, CDTR."""
        found, dense = {}, self.bases["dense"]
        l0 = {d: float(self.draws.bits(d, n)[0]) for d, n in dense["nats"].items()}
        for chain in self.chains.get("A", []):
            source, cell = chain.order[0], chain.cells[1]
            tokens = np.array([len(w) - 1 for w in self.stages.judged[source].ids])
            count = self.draws.sums(source, tokens)
            falls = 1 - np.exp((self.draws.sums(source, cell["nats"][source]) - self.draws.sums(source, dense["nats"][source])) / count)
            run = {"arm": "A", "rate": self.best["A"], "order": chain.order, "seed": self.seed_of(chain.order), "tokens": self.scale["stage_tokens"]}
            tuned = {d: float(v[0]) for d, v in chain.l[1].items()}
            g = gains(l0, tuned, source)
            found[source] = {"perplexity_falls_by": interval(falls), "base_choice_falls_by": interval(self.choice_falls(self.stages.choices_after(run))),
                             "gains": g, **fragility(g, source)}
        return found

    def seed_of(self, order):
        return self.settings["domains"]["orders"].index(order) + 1

    def choice_falls(self, after):
        """By which share accuracy on the base's domains falls, items drawn anew within each domain: [1 + resamples]."""
        random, base = np.random.default_rng(4), self.settings["domains"]["base"]
        sums = np.zeros((2, self.settings["statistics"]["resamples"] + 1))
        for d in base:
            hits = np.array([right(self.stages.items[d], chosen[d]) for chosen in (self.bases["dense"]["chosen"], after)], dtype=float)
            drawn = random.multinomial(hits.shape[1], np.full(hits.shape[1], 1 / hits.shape[1]), sums.shape[1] - 1)
            sums += hits @ np.concatenate([np.ones((1, hits.shape[1])), drawn]).T
        return 1 - sums[1] / np.maximum(sums[0], 1e-9)

    # ---- through gemc --------------------------------------------------------------

    def compiled(self, tell):
        """Agreement in f32, gains kept at each width, and whether fragility goes with bits."""
        judge, bits = Judge(self.stages.corpus, self.scale["compiled_tokens"], self.stages.cells), self.scale["bits"]
        models = {"dense": self.bases["dense"]["model"], "gem": self.bases["gem"]["model"]}
        for arm in ("A", "C", "F", "G", "H"):
            if arm in self.chains:
                models[arm] = self.chains[arm][0].cells[-1]["model"]
        singles = {c.order[0]: c.cells[1]["model"] for c in self.chains.get("A", [])}
        draws = Draws(judge.windows, self.settings["statistics"]["resamples"])
        agreement, at = {}, {}
        every = [*models.items(), *((f"A after {d}", m) for d, m in singles.items())]
        for n, (name, model) in enumerate(every):
            here = judge.here(model)
            at[name, "f32"] = {d: draws.bits(d, of) for d, of in here.items()}
            for width in bits:
                tell(f"gemc verify: {name} at {width} bits, {n + 1} of {len(every)}")
                f32, found = judge.there(model, width)
                agreement[name] = max(abs(f32[d].sum() / here[d].sum() - 1) for d in here)
                at[name, width] = {d: draws.bits(d, of) for d, of in found.items()}
        plain = {name: {w: {d: float(v[0]) for d, v in of.items()} for (m, w), of in at.items() if m == name} for name, _ in every}
        return {"agreement": agreement, "bits": plain, "kept": self.kept(at, bits), "brittle": self.brittle(plain, bits, list(singles)),
                "documents": {d: len(w.ids) for d, w in judge.windows.items()}}

    def kept(self, at, bits):
        """Of what an arm gained on new domains from the base to the end of order 1, the share that is left at so many bits."""
        new, found = self.settings["domains"]["new"], {}
        for arm in self.chains:
            if (arm, "f32") not in at:
                continue
            base = self.family(arm)
            gain = {w: np.mean([at[base, w][d] - at[arm, w][d] for d in new], 0) for w in ("f32", *bits)}
            found[arm] = {w: interval(gain[w] / gain["f32"]) for w in bits}
        return found

    def brittle(self, plain, bits, sources):
        """GG of each source at each width; rho of GG with bits over them, sources drawn anew; and of what GG differs from f32's."""
        table = {s: {w: fragility(gains(plain["dense"][w], plain[f"A after {s}"][w], s), s) for w in ("f32", *bits)} for s in sources}
        if len(sources) < 2 or len(bits) < 3:
            return {"table": table, "rho": None, "rho_of_differences": None}
        rho = {"rho": [], "rho_of_differences": []}
        random = np.random.default_rng(3)
        for n in range(self.settings["statistics"]["resamples"] + 1):
            drawn = sources if n == 0 else [sources[i] for i in random.integers(0, len(sources), len(sources))]
            for name, less in (("rho", 0.0), ("rho_of_differences", 1.0)):
                rows = [(float(w), table[s][w]["GG"] - less * table[s]["f32"]["GG"]) for s in drawn for w in bits]
                rho[name].append(spearman(*zip(*rows)) if len({g for _, g in rows}) > 1 else 0.0)
        return {"table": table, **{name: interval(np.array(of)) for name, of in rho.items()}}

    # ---- long-term degradation ------------------------------------------------------

    def long(self):
        """By lap: the rise on the base's domains, and what its stages gained; slopes a lap."""
        found = {}
        for run in laps(self.settings, self.best):
            chain, base = self.chain(run), self.settings["domains"]["base"]
            each = len(self.settings["domains"]["new"])
            count = len(run["order"]) // each
            rise = [np.mean([chain.l[each * lap][d] - chain.l[0][d] for d in base], 0) for lap in range(count + 1)]
            gained = [np.mean([chain.l[k][d] - chain.l[k + 1][d] for k, d in enumerate(run["order"]) if k // each == lap], 0) for lap in range(count)]
            found.setdefault(run["arm"], []).append({
                "order": run["order"][:each], "rise": [interval(r) for r in rise], "gained": [interval(g) for g in gained],
                "slope_of_rise": interval((rise[-1] - rise[1]) / (count - 1)), "slope_of_gain": interval((gained[-1] - gained[0]) / (count - 1))})
        return found

    def fault(self):
        """A with rate 0: forgetting and plasticity, which must be 0."""
        chain = self.chain(planted(self.settings, self.scale))
        return {"forgetting": float(np.abs(chain.forgetting()).max()), "plasticity": float(np.abs(chain.plasticity()).max())}

    def all(self, tell, with_laps):
        documents = {d: int(len(np.unique(w.documents))) for d, w in self.stages.judged.items()}
        devices = latency()  # first what may fail soon
        found = {"scale": self.name, "settings": self.scale, "documents": documents, "rates": {"chosen": self.best, "gains": {
            arm: {str(r): g for r, g in of.items()} for arm, of in self.gains.items()}, "at an end": at_an_end(self.best, self.gains)},
            "planted_fault": self.fault(), "bases": self.bases_figures(), "bounds": self.bounds(), "arms": self.sequences(),
            "differences": self.differences(), "ratios": self.ratios(), "matched": self.matched(), "after_one_stage": self.after_one_stage(),
            "compiled": self.compiled(tell), "latency": devices}
        if with_laps:
            found["long"] = self.long()
        return rounded(found)


def shares(routes, modules):
    """{domain: [layers][modules + 1]}: where tokens of the domain go; the last is the general path alone."""
    found = {}
    for domain, of in routes.items():
        found[domain] = [[float((layer == m).mean()) for m in [*range(modules), -1]] for layer in of]
    return found
