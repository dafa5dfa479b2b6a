"""Bases and stages as cells: each is trained once, judged, and kept with its model."""

from judging import Forced, chosen, nats, routes
from selecting import Selecting
from text import Corpus
from training import ADAPTER_ARMS, GEM_ARMS, Arm, Batches, statistics_of, train_base, train_stage

STATISTICS_WINDOWS = 64  # of training text, for what routers read and what the selector compares
VALIDATION_WINDOWS = 32


def family_of(arm):
    return "gem" if arm in GEM_ARMS else "dense"


class Stages:
    """The settings at one scale, the text, and the cells."""

    def __init__(self, settings, scale, cells, small, progress):
        self.settings, self.scale, self.cells, self.progress = settings, scale, cells, progress
        domains = settings["domains"]
        self.domains = domains["base"] + domains["new"]
        self.corpus = Corpus(self.domains, small)
        self.small = small
        self.judged = {d: self.corpus.windows("judged", d).first(scale["judged_windows"]) for d in self.domains}
        self.held = {}

    def once(self, what, make):
        """Text that few cells need, made when it is needed."""
        if what not in self.held:
            self.held[what] = make()
        return self.held[what]

    def validation(self, domain):
        return self.once(("validation", domain), lambda: self.corpus.windows("validation", domain).first(VALIDATION_WINDOWS))

    def known(self, domain):
        """Windows of training text, whose statistics may be kept."""
        def make():
            text = self.corpus.texts("train", domain) if self.small else None
            windows = self.corpus.windows("train", domain) if text else self.corpus.windows_of_stream(domain, STATISTICS_WINDOWS)
            return windows.first(STATISTICS_WINDOWS)
        return self.once(("known", domain), make)

    def last(self, domain):
        """All windows that the end is judged on."""
        return self.once(("last", domain), lambda: self.corpus.windows("judged", domain).first(self.scale["final_windows"]))

    def items(self, domain):
        return self.once(("items", domain), lambda: self.corpus.items(domain, self.scale["items"]))

    # ---- keys: everything that decides what is in a cell --------------------------------

    def base_key(self, family):
        settings = {k: self.settings[k] for k in ("text", "domains", "model")}
        return {"what": f"base-{family}", "settings": settings, "tokens": self.scale["base_tokens"], "small": self.small,
                "judged": [self.scale["judged_windows"], self.scale["final_windows"], self.scale["items"]]}

    def stage_key(self, run, place):
        """`run`: {"arm", "rate", "order": domains in their order, "seed", "tokens"}."""
        before = self.base_key(family_of(run["arm"]))
        kept = {"stage": {k: v for k, v in self.settings["stage"].items() if k != "rates"}, "points": self.scale["points"]}
        path = run["order"][:place + 1]
        return {"what": f"{run['arm']}-{place + 1}-{'-'.join(path)[:40]}", "before": before, **kept, "place": place,
                "run": {**run, "order": path}, "last": self.ends(run, place)}

    @staticmethod
    def ends(run, place):
        return place + 1 == len(run["order"])

    # ---- making ---------------------------------------------------------------------

    def base(self, family):
        key = self.base_key(family)
        if self.cells.has(key):
            return self.cells.get(key)
        model = train_base(self.settings, self.scale, self.corpus, family, self.progress)
        cell = {"model": model, "nats": {d: nats(model, w) for d, w in self.judged.items()}, **self.ended(model)}
        if family == "gem":
            base = self.settings["domains"]["base"]
            cell["statistics"] = {m: statistics_of(model, self.known(d).batches()) for m, d in enumerate(base)}
            cell["routes"] = {d: routes(model, w) for d, w in self.judged.items()}
        return self.cells.put(key, cell)

    def ended(self, model):
        """What is judged of bases and of ends alone: more text, and the choices."""
        return {"last": {d: nats(model, self.last(d)) for d in self.domains},
                "chosen": {d: chosen(model, self.items(d)) for d in self.domains}}

    def stage(self, run, place):
        """One stage after those before it, from cells or trained now."""
        key = self.stage_key(run, place)
        if self.cells.has(key):
            return self.cells.get(key)
        before = self.stage(run, place - 1) if place else self.base(family_of(run["arm"]))
        return self.cells.put(key, self.trained(run, place, before))

    def trained(self, run, place, before):
        name, domain, seed = run["arm"], run["order"][place], run["seed"]
        start = before["model"].base if isinstance(before["model"], Selecting) else before["model"]
        arm = Arm(self.settings, name, start, domain, 100 * seed + place, before.get("statistics"), self.validation(domain))
        inside = {}
        half = {d: w.first((len(w.ids) + 1) // 2) for d, w in self.judged.items()}

        def at_point(share):
            inside[share] = {d: nats(arm.model, w) for d, w in half.items()}

        validation = [float(nats(before["model"], self.validation(domain)).sum())]
        first = place == 0 and name not in ADAPTER_ARMS
        seconds = train_stage(self.settings, arm, self.batches(run, place), run["tokens"], run["rate"], self.scale["points"] if first else [],
                              at_point, self.progress)
        model = self.selecting(before["model"], arm, domain) if name == "E" else arm.model
        validation.append(float(nats(model, self.validation(domain)).sum()))
        cell = {"model": model, "nats": {d: nats(model, w) for d, w in self.judged.items()}, "inside": inside, "validation": validation,
                "seconds": seconds, "weights_trained": arm.weights_trained(), "weights_stored": sum(p.numel() for p in model.parameters())}
        if name in GEM_ARMS:
            own = statistics_of(model, self.known(domain).batches())
            cell["statistics"] = before["statistics"] | {arm.label: own}
            cell["routes"] = {d: routes(model, w) for d, w in self.judged.items()}
        if place == 0 and name == "A":  # what usual tuning does to the base's domains
            cell["chosen"] = {d: chosen(model, self.items(d)) for d in self.domains}
        if self.ends(run, place):
            cell |= self.ended(model)
            if name in GEM_ARMS and place:
                cell["forced"] = self.forced(run, place, model)
        return cell

    def batches(self, run, place):
        """The stage's text. Every stage of a domain goes on where the one before ended; F replays what came earlier."""
        domain = run["order"][place]
        streams = [self.corpus.stream(d) for d in (self.domains if run["arm"] == "J" else [domain])]
        earlier = self.settings["domains"]["base"] + run["order"][:place]
        older = [self.corpus.stream(d) for d in dict.fromkeys(earlier) if d != domain] if run["arm"] == "F" else []
        rows = self.settings["model"]["rows"]
        skip = run["order"][:place].count(domain) * (run["tokens"] // (rows * 256)) * rows
        return Batches(self.settings, streams, older, 1000 * run["seed"], skip)

    def selecting(self, before, arm, domain):
        """E: the base with one adapter more."""
        model = before
        if not isinstance(model, Selecting):
            model = Selecting(before)
            for d in self.settings["domains"]["base"]:
                model.learn(self.known(d).batches(), -1)
        model.add(arm.model, self.known(domain).batches())
        return model

    def forced(self, run, place, model):
        """{domain: nats with the routing of the stage that taught it}, of all but the last."""
        found, base = {}, self.settings["domains"]["base"]
        older = self.base("gem")["model"]
        found |= {d: Forced(model, older).nats(self.judged[d]) for d in base}
        for k, domain in enumerate(run["order"][:place]):
            found[domain] = Forced(model, self.stage(run, k)["model"]).nats(self.judged[domain])
        return found
