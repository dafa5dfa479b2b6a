"""Bases and stages as cells: each is trained once, judged, and kept with its model."""

import hashlib

import numpy as np

from judging import Forced, chosen, nats, nats_and_routes
from selecting import Selecting
from text import Corpus
from training import GEM_ARMS, Arm, Batches, statistics_of, train_base, train_stage

STATISTICS_WINDOWS = 64  # of training text, for what routers read, what the selector compares and which module is copied
VALIDATION_WINDOWS = 32


def family_of(arm):
    return "gem" if arm in GEM_ARMS else "dense"


class Stages:
    """The settings at one scale, the text, and the cells."""

    def __init__(self, settings, scale, cells, small, progress):
        self.settings, self.scale, self.cells, self.progress = settings, scale, cells, progress
        domains = settings["domains"]
        self.domains, self.small = domains["base"] + domains["new"], small
        self.corpus = Corpus(self.domains, small)
        windows = {d: self.corpus.windows("judged", d) for d in self.domains}
        self.judged = {d: w.first(scale["judged_windows"]) for d, w in windows.items()}
        self.last = {d: w.first(scale["final_windows"]) for d, w in windows.items()}
        self.items = {d: self.corpus.items(d, scale["items"]) for d in self.domains}
        self.validation = {d: self.corpus.windows("validation", d).first(VALIDATION_WINDOWS) for d in self.domains}
        self.known = {d: self.known_windows(d) for d in self.domains}
        self.train_text, self.judged_text = self.digests()

    def known_windows(self, domain):
        """Windows of training text, whose statistics may be kept."""
        if self.small:
            return self.corpus.windows("train", domain).first(STATISTICS_WINDOWS)
        return self.corpus.windows_of_stream(domain, STATISTICS_WINDOWS)

    def digests(self):
        """Of all text that is trained on, and of all that chooses or judges: cells of other text are not taken."""
        train, judged = hashlib.sha256(), hashlib.sha256()
        for d in self.domains:
            train.update(np.asarray(self.corpus.stream(d), dtype=np.int64).tobytes())
            for of in (self.judged, self.last, self.validation, self.known):
                for ids in of[d].ids:
                    judged.update(np.asarray(ids, dtype=np.int64).tobytes())
                judged.update(of[d].documents.astype(np.int64).tobytes())
            for item in self.items[d]:
                judged.update(item.ids.astype(np.int64).tobytes())
        return train.hexdigest(), judged.hexdigest()

    # ---- keys: everything that decides what is in a cell --------------------------------

    def model_key(self, family):
        """Of a trained base, whatever it is judged on."""
        settings = {k: self.settings[k] for k in ("domains", "model")}
        return {"what": f"base-{family}", "settings": settings, "tokens": self.scale["base_tokens"], "text": self.train_text}

    def base_key(self, family):
        return {"what": f"judged-{family}", "model": self.model_key(family), "text": self.judged_text}

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

    def base_model(self, family):
        key = self.model_key(family)
        if self.cells.has(key):
            return self.cells.get(key)
        unfinished = self.cells.unfinished(key)
        model = train_base(self.settings, self.scale, self.corpus, family, self.progress, unfinished)
        self.cells.put(key, model)
        unfinished.drop()
        return model

    def base(self, family):
        """A base with its model, judged."""
        key, model = self.base_key(family), self.base_model(family)
        if self.cells.has(key):
            return self.cells.get(key) | {"model": model}
        cell = {**self.judge(model, family), **self.ended(model)}
        if family == "gem":
            base = self.settings["domains"]["base"]
            cell["statistics"] = {m: statistics_of(model, self.known[d].batches()) for m, d in enumerate(base)}
        return self.cells.put(key, cell) | {"model": model}

    def judge(self, model, family):
        """Nats of the judged windows, and where their tokens go."""
        if family == "dense":
            return {"nats": {d: nats(model, w) for d, w in self.judged.items()}}
        found = {d: nats_and_routes(model, w) for d, w in self.judged.items()}
        return {"nats": {d: n for d, (n, _) in found.items()}, "routes": {d: r for d, (_, r) in found.items()}}

    def ended(self, model):
        """What is judged of bases and of ends alone: more text, and the choices."""
        return {"last": {d: nats(model, w) for d, w in self.last.items()}, "chosen": self.choices(model)}

    def choices(self, model):
        return {d: chosen(model, items) for d, items in self.items.items()}

    def choices_after(self, run):
        """{domain: choices} after the first stage of a run."""
        key = {"what": "choices", "stage": self.stage_key(run, 0)}
        if self.cells.has(key):
            return self.cells.get(key)
        return self.cells.put(key, self.choices(self.stage(run, 0)["model"]))

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
        arm = Arm(self.settings, name, start, domain, 100 * seed + place, before.get("statistics"), self.known[domain])
        inside = {}

        def at_point(share):
            inside[share] = {d: nats(arm.model, w) for d, w in self.judged.items()}

        validation = [float(nats(before["model"], self.validation[domain]).sum())]
        points = self.scale["points"] if place == 0 and name in self.scale["matched"] else []
        seconds = train_stage(self.settings, arm, self.batches(run, place), run["tokens"], run["rate"], points, at_point, self.progress)
        model = self.selecting(before["model"], arm, domain) if name == "E" else arm.model
        validation.append(float(nats(model, self.validation[domain]).sum()))
        cell = {"model": model, **self.judge(model, family_of(name)), "inside": inside, "validation": validation, "seconds": seconds,
                "weights_trained": arm.weights_trained()}
        if name == "C":
            cell["statistics"] = before["statistics"] | {arm.label: statistics_of(model, self.known[domain].batches())}
        cell["weights_stored"] = stored(cell, name)
        if self.ends(run, place):
            cell |= self.ended(model)
            if name in GEM_ARMS and 0 < place < len(self.settings["domains"]["new"]):
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
        return Batches(self.settings, streams, older, (1000 * run["seed"], place), skip)

    def selecting(self, before, arm, domain):
        """E: the base with one adapter more."""
        model = before
        if not isinstance(model, Selecting):
            model = Selecting(before)
            for d in self.settings["domains"]["base"]:
                model.learn(self.known[d].batches(), -1)
        model.add(arm.model, arm.weights_trained(), self.known[domain].batches())
        return model

    def forced(self, run, place, model):
        """{domain: nats with the routing of the stage that taught it}, of all but the last."""
        found, base = {}, self.settings["domains"]["base"]
        older = self.base_model("gem")
        found |= {d: Forced(model, older).nats(self.judged[d]) for d in base}
        for k, domain in enumerate(run["order"][:place]):
            found[domain] = Forced(model, self.stage(run, k)["model"]).nats(self.judged[domain])
        return found


def stored(cell, name):
    """Numbers that an arm keeps: weights, and statistics that it trains or selects by."""
    model = cell["model"]
    if name == "E":  # adapters stand beside the base's weights, not in copies of it
        return sum(p.numel() for p in model.base.parameters()) + sum(model.adapters) + model.statistics()
    statistics = sum(mean.numel() + factor.numel() for of in cell.get("statistics", {}).values() for mean, factor in of.values())
    return sum(p.numel() for p in model.parameters()) + statistics
