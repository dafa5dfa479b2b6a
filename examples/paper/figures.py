"""Judged cells -> the measures of protocol.toml, each with an interval."""

import math

import numpy as np

LN2 = math.log(2)


def documents_of(windows):
    """[documents, windows] of zeros and ones."""
    names = np.unique(windows.documents)
    return (windows.documents[None] == names[:, None]).astype(float)


class Draws:
    """Documents of each domain, drawn anew: the same draws for whatever is compared. Row 0 is the text as it is."""

    def __init__(self, windows, resamples, seed=0):
        random = np.random.default_rng(seed)
        self.of, self.weights = {}, {}
        for domain, w in windows.items():
            of = documents_of(w)
            drawn = random.multinomial(len(of), np.full(len(of), 1 / len(of)), resamples)
            self.of[domain] = of
            self.weights[domain] = np.concatenate([np.ones((1, len(of))), drawn])
        self.bytes = {d: self.weights[d] @ (self.of[d] @ w.bytes) for d, w in windows.items()}

    def sums(self, domain, values):
        """[1 + resamples]: sums of something that each window of a domain has."""
        return self.weights[domain] @ (self.of[domain] @ values)

    def bits(self, domain, nats):
        """[1 + resamples]: bits a byte of a domain."""
        return self.sums(domain, nats) / LN2 / self.bytes[domain]


def interval(values):
    """(what is, lower end, upper end) of [1 + resamples]."""
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return [float(values[0]), float(low), float(high)]


class Chain:
    """One arm in one order: `l[i][j]` as arrays [1 + resamples]."""

    def __init__(self, draws, domains, base, order, cells, first):
        self.order, self.cells = order, [first] + cells
        self.l = [{d: draws.bits(d, cell["nats"][d]) for d in domains} for cell in self.cells]
        self.taught = {d: 0 for d in base}
        for k, d in enumerate(order, 1):
            self.taught.setdefault(d, k)
        self.domains, self.new, self.last = domains, list(dict.fromkeys(order)), len(order)

    def older(self):
        """Domains taught before the end, with the stage that taught them."""
        return [(d, t) for d, t in self.taught.items() if t < self.last]

    def forgetting(self):
        return np.mean([self.l[self.last][d] - np.min([self.l[k][d] for k in range(t, self.last)], 0) for d, t in self.older()], 0)

    def backward(self):
        return np.mean([self.l[t][d] - self.l[self.last][d] for d, t in self.older()], 0)

    def plasticity(self):
        return np.mean([self.l[self.taught[d] - 1][d] - self.l[self.taught[d]][d] for d in self.new], 0)

    def forward(self):
        return np.mean([self.l[0][d] - self.l[self.taught[d] - 1][d] for d in self.new], 0)

    def intransigence(self, joint):
        return np.mean([self.l[self.taught[d]][d] - joint[d] for d in self.new], 0)


def final(draws, cell):
    """Mean over all domains of what is judged at the end."""
    return np.mean([draws.bits(d, nats) for d, nats in cell["last"].items()], 0)


def drift(chain):
    """Share of older domains' tokens whose module, in any layer, is another than when they were taught."""
    shares = []
    for d, t in chain.older():
        before, after = chain.cells[t]["routes"][d], chain.cells[chain.last]["routes"][d]
        shares.append(float((before != after).any(0).mean()))
    return float(np.mean(shares))


def over_orders(values, seed=1):
    """[orders][1 + resamples] -> their mean, with orders drawn anew, too."""
    values = np.stack(values)
    random = np.random.default_rng(seed)
    picks = random.integers(0, len(values), (values.shape[1], len(values)))
    picks[0] = np.arange(len(values))
    return values[picks, np.arange(values.shape[1])[:, None]].mean(1)


def ratio_less_one(gem, dense):
    """1 - F(C) / F(A), per resample; forgetting that is gain counts as none."""
    return 1 - np.maximum(gem, 0) / np.maximum(dense, 1e-9)


def curve(points):
    """[(plasticity, forgetting)] -> the best of them from no change at all: rising in plasticity, none with less forgetting to its right."""
    best = []
    for p, f in sorted(points + [(0.0, 0.0)], reverse=True):
        if not best or f < best[-1][1]:
            best.append((p, f))
    return best[::-1]


def read(points, at):
    """Forgetting at a plasticity, on straight lines between the best points."""
    p, f = zip(*curve(points))
    return float(np.interp(at, p, f))


def matched(points_a, points_c):
    """(D at the largest plasticity that both reach, that plasticity, forgetting of both there); points of one resample.

    A draw in which A forgets nothing there has no ratio: D is 0 where the other forgets more than nothing, else 1."""
    at = min(max(p for p, _ in points_a), max(p for p, _ in points_c))
    f_a, f_c = read(points_a, at), read(points_c, at)
    d = 1 - max(f_c, 0.0) / f_a if f_a > 1e-9 else float(f_c <= 0)
    return d, at, f_a, f_c


def ranks(values):
    """Equal values share the mean of their ranks."""
    _, of, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[of]


def spearman(a, b):
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def gains(l0, tuned, source):
    """{target: g(source, target)}: relative gains of one stage on `source`."""
    return {t: (l0[t] - tuned[t]) / l0[t] for t in l0}


def fragility(g, source):
    """DSI, GG and CDTR of one source, as protocol.toml defines them."""
    others = [v for t, v in g.items() if t != source]
    own, mean = g[source], float(np.mean(others))
    return {"DSI": own - mean, "GG": -mean, "CDTR": mean / own if own >= 0.01 else None}
