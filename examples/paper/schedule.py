"""Which cells a scale has, made by two processes of one thread each, with the time that is left."""

import concurrent.futures
import multiprocessing
import sys
import time

from cells import Cells
from stages import Stages
from training import prepare

COUNTER, STAGES = multiprocessing.get_context("fork").Value("d", 0.0), None  # tokens trained; set before the workers are forked


def count(_step, _steps, _loss):
    with COUNTER.get_lock():
        COUNTER.value += STAGES.settings["model"]["rows"] * 256


def start(settings, scale, folder, small):
    global STAGES
    STAGES = Stages(settings, scale, Cells(folder), small, count)
    return STAGES


def runs_of(settings, scale):
    """Orders with their seeds."""
    return list(enumerate(settings["domains"]["orders"][:scale["orders"]], 1))


def first_stages(settings, scale):
    """Runs of one stage: every rate, in order 1 for all arms and in every order for those that are compared at equal plasticity."""
    found = []
    for seed, order in runs_of(settings, scale):
        for arm in scale["arms"]:
            if arm == "J" or seed > 1 and arm not in scale["matched"]:
                continue
            found += [{"arm": arm, "rate": rate, "order": order[:1], "seed": seed, "tokens": scale["stage_tokens"]} for rate in rates(settings, scale)]
    return found


def rates(settings, scale):
    return scale.get("rates", settings["stage"]["rates"])


def best_rates(stages):
    """{arm: the rate of the largest gain on validation text in the first stage of order 1}."""
    settings, scale = stages.settings, stages.scale
    gains = {}
    for run in first_stages(settings, scale):
        if run["seed"] == 1:
            before, after = first(stages, run)["validation"]
            gains.setdefault(run["arm"], {})[run["rate"]] = before - after
    return {arm: max(of, key=of.get) for arm, of in gains.items()}, gains


def at_an_end(best, gains):
    """Arms whose best rate is the first or the last of several: a larger or smaller one might be better."""
    return [arm for arm, rate in best.items() if len(gains[arm]) > 1 and rate in (min(gains[arm]), max(gains[arm]))]


def first(stages, run):
    """The first stage of a run, whose order may go on."""
    return stages.stage(longer(stages, run), 0)


def longer(stages, run):
    """The run in its whole order, so that the first stage of a chain is the same cell as in the comparison of rates."""
    orders = stages.settings["domains"]["orders"]
    return {**run, "order": next(order for order in orders if order[0] == run["order"][0])}


def chains(settings, scale, best):
    found = []
    for seed, order in runs_of(settings, scale):
        for arm in scale["arms"]:
            if arm == "J":
                continue
            found.append({"arm": arm, "rate": best[arm], "order": order, "seed": seed, "tokens": scale["stage_tokens"]})
    if "J" in scale["arms"]:
        domains = settings["domains"]
        found.append({"arm": "J", "rate": best["A"], "order": domains["new"][:1], "seed": 1, "tokens": scale["stage_tokens"] * len(domains["new"])})
    return found


def laps(settings, best):
    """Long-term degradation."""
    long = settings["long"]
    orders = list(enumerate(settings["domains"]["orders"][:long["orders"]], 1))
    return [{"arm": arm, "rate": best[arm], "order": order * long["laps"], "seed": seed, "tokens": long["stage_tokens"]}
            for seed, order in orders for arm in long["arms"] if arm in best]


def planted(settings, scale):
    """A with rate 0, which must change nothing."""
    seed, order = runs_of(settings, scale)[0]
    return {"arm": "A", "rate": 0.0, "order": order[:2], "seed": seed, "tokens": settings["model"]["rows"] * 256 * 4}


def make(job):
    """In a worker."""
    kind, what = job
    if kind == "base":
        STAGES.base(what)
    elif kind == "first":
        first(STAGES, what)
    elif kind == "choices":
        STAGES.choices_after(what)
    else:
        STAGES.stage(what, len(what["order"]) - 1)


def tokens_of(job, stages):
    """That are left to be trained."""
    kind, what = job
    if kind == "base":
        return 0 if stages.cells.has(stages.model_key(what)) else stages.scale["base_tokens"]
    if kind == "choices":
        return 0
    if kind == "first":
        return 0 if stages.cells.has(stages.stage_key(longer(stages, what), 0)) else what["tokens"]
    return sum(what["tokens"] for k in range(len(what["order"])) if not stages.cells.has(stages.stage_key(what, k)))


class Hands:
    """Two workers, and what is told of them."""

    def __init__(self, stages, workers):
        self.stages = stages
        context = multiprocessing.get_context("fork")
        self.pool = concurrent.futures.ProcessPoolExecutor(workers, mp_context=context, initializer=prepare)

    def all(self, title, jobs):
        """Makes all jobs' cells; largest first."""
        left = {self.pool.submit(make, job): job for job in sorted(jobs, key=lambda job: -tokens_of(job, self.stages))}
        whole, begin, before = sum(tokens_of(job, self.stages) for job in jobs), time.monotonic(), COUNTER.value
        while left:
            done, _ = concurrent.futures.wait(left, timeout=30, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                self.result(future)
                del left[future]
            trained = COUNTER.value - before
            if trained and whole:
                minutes = (time.monotonic() - begin) / 60
                rest = minutes * max(0.0, whole - trained) / trained
                print(f"{title}: {trained / 1e6:.2f} of {whole / 1e6:.2f} M tokens, {len(jobs) - len(left)} of {len(jobs)} done, "
                      f"{minutes:.1f} min, about {rest:.0f} min left", file=sys.stderr, flush=True)

    def result(self, future):
        """What is queued is not made where something has failed."""
        try:
            future.result()
        except BaseException:
            self.pool.shutdown(wait=False, cancel_futures=True)
            raise
