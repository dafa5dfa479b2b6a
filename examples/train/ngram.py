"""Token ids -> interpolated Kneser-Ney trigram and unigram: the baselines gem-lm has to beat.

Counts are sorted arrays of packed ids, looked up by bisection, so that ten million tokens take seconds.
One discount per order, n1 / (n1 + 2 n2), as in Chen and Goodman (1999), section 2.7; the lower orders count
distinct left contexts; the unigram is interpolated with the uniform distribution.
"""

import numpy as np


class Counts:
    """Multiset of packed keys with lookup."""

    def __init__(self, keys, weights=None):
        self.keys, inverse = np.unique(keys, return_inverse=True)
        self.values = np.bincount(inverse, weights).astype(np.float64) if len(keys) else np.zeros(0)

    def __call__(self, keys):
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, self.values[at], 0.0)

    def discount(self):
        once, twice = (self.values == 1).sum(), (self.values == 2).sum()
        return once / (once + 2 * twice)


class KneserNey:
    """`streams`: arrays of ids whose n-grams are counted, none across two arrays."""

    def __init__(self, streams, vocabulary):
        self.v = v = vocabulary
        streams = [s.astype(np.int64) for s in streams]
        self.full = Counts(np.concatenate([(s[:-2] * v + s[1:-1]) * v + s[2:] for s in streams]))
        context = self.full.keys // v
        self.full_total, self.full_kinds = Counts(context, self.full.values), Counts(context)
        # Bigrams and unigrams count in how many different contexts they were seen.
        pairs = np.unique(np.concatenate([s[:-1] * v + s[1:] for s in streams]))
        self.two = Counts(np.concatenate([self.full.keys % (v * v), np.setdiff1d(pairs, self.full.keys % (v * v))]))
        self.two_total = Counts(self.two.keys // v, self.two.values)
        self.two_kinds = Counts(self.two.keys // v)
        self.one = Counts(pairs % v)

    def unigram(self, w):
        d, total = self.one.discount() if (self.one.values == 2).any() else 0.5, self.one.values.sum()
        return np.maximum(self.one(w) - d, 0) / total + d * len(self.one.keys) / total / self.v

    @staticmethod
    def mix(count, discount, total, kinds, lower):
        total = np.maximum(total, 1e-9)
        seen = kinds > 0
        return np.where(seen, np.maximum(count - discount, 0) / total + discount * kinds / total * lower, lower)

    def probability(self, u, v, w):
        """p(w | u v); u < 0 where there is no such token: then p(w | v)."""
        bigram = self.mix(self.two(v * self.v + w), self.two.discount(), self.two_total(v), self.two_kinds(v),
                          self.unigram(w))
        context = u * self.v + v
        trigram = self.mix(self.full(context * self.v + w), self.full.discount(), self.full_total(context),
                           self.full_kinds(context), bigram)
        return np.where(u < 0, bigram, trigram)

    def nll(self, window):
        """Total negative log likelihood of tokens 1.. of a window, in nats."""
        window = window.astype(np.int64)
        u = np.concatenate([[-1], window[:-2]])
        return -np.log(self.probability(u, window[:-1], window[1:])).sum()


def unigram_nll(streams, windows, vocabulary):
    """Add-one unigram: total negative log likelihood of tokens 1.. of each window."""
    counts = sum(np.bincount(s, minlength=vocabulary) for s in streams) + 1.0
    logp = np.log(counts / counts.sum())
    return -sum(logp[w[1:]].sum() for w in windows)
