"""A table of parameters and their values, with constraints -> few rows in which every feasible pair of values meets.

A greedy generator: each row starts from a pair not yet covered and takes, parameter by parameter, the value that
covers most. A parameter that does not apply to a row has the value `None` there, and pairs with `None` do not count.
"""

import itertools
import random


class Pairwise:
    """`values`: {parameter: [value, ...]}; `applies`: {parameter: (parameters it depends on, test)};
    `rules`: [(parameters, test)] that every row satisfies. A test receives the named parameters' values."""

    def __init__(self, values, applies, rules):
        self.values = {name: list(options) for name, options in values.items()}
        self.names = list(values)
        self.options = {n: [*v, None] if n in applies else v for n, v in self.values.items()}
        rules = list(rules) + [_presence(name, *condition) for name, condition in applies.items()]
        self.rules_of = {name: [rule for rule in rules if name in rule[0]] for name in self.names}
        self.ruled = [name for name in self.names if self.rules_of[name]]
        self.known = {}  # what `_feasible` found out already
        self.pairs = [pair for pair in self._all_pairs() if self._feasible(dict(pair))]

    def _all_pairs(self):
        for a, b in itertools.combinations(self.names, 2):
            for x, y in itertools.product(self.values[a], self.values[b]):
                yield (a, x), (b, y)

    def _holds(self, row, name):
        """Does the partial `row` break no rule that mentions `name` and is decided already?"""
        return all(
            test(*(row[key] for key in keys)) for keys, test in self.rules_of[name] if all(key in row for key in keys)
        )

    def _feasible(self, row):
        """Can the partial `row` be completed? Depth first over the parameters that rules mention."""
        row = {name: row[name] for name in self.ruled if name in row}
        key = tuple(row.items())
        if key not in self.known:
            left = [name for name in self.ruled if name not in row]
            self.known[key] = all(self._holds(row, name) for name in row) and self._complete(row, left)
        return self.known[key]

    def _complete(self, row, left):
        if not left:
            return True
        name = left[0]
        for value in self.options[name]:
            row[name] = value
            if self._holds(row, name) and self._complete(row, left[1:]):
                return True
        del row[name]
        return False

    def covered(self, rows):
        """The set of feasible pairs that `rows` cover."""
        found = set()
        for row in rows:
            found |= set(itertools.combinations(((name, row[name]) for name in self.names), 2))
        return found & set(self.pairs)

    def rows(self, seed, candidates=8):
        """Rows that together cover `self.pairs`; the same rows for the same seed."""
        rng = random.Random(seed)
        left = _Uncovered(self.pairs)
        rows = []
        while pool := [pair for pair in self.pairs if left.has(*pair)]:
            built = [self._row(rng, dict(rng.choice(pool)), left) for _ in range(candidates)]
            rows.append(max(built, key=left.gain_of_row))
            left.remove(rows[-1])
        return [{name: row[name] for name in self.names} for row in rows]

    def _row(self, rng, row, left):
        names = [name for name in self.names if name not in row]
        rng.shuffle(names)
        for name in names:
            options = list(self.options[name])
            rng.shuffle(options)
            options.sort(key=lambda value: -left.gain((name, value), row))
            # `next` cannot fail: the row was feasible before this parameter was chosen.
            row[name] = next(v for v in options if name not in self.ruled or self._feasible({**row, name: v}))
        return row


class _Uncovered:
    """The pairs still to cover, as {item: set of its partners}."""

    def __init__(self, pairs):
        self.partners = {}
        for a, b in pairs:
            self.partners.setdefault(a, set()).add(b)
            self.partners.setdefault(b, set()).add(a)

    def has(self, a, b):
        return b in self.partners[a]

    def gain(self, item, row):
        partners = self.partners.get(item)
        return len(partners & row.items()) if partners else 0

    def gain_of_row(self, row):
        return sum(self.gain(item, row) for item in row.items())

    def remove(self, row):
        for item in row.items():
            if item in self.partners:
                self.partners[item] -= row.items()


def _presence(name, keys, test):
    """`name` has a value exactly when `test` of the other parameters says so."""
    return ((name, *keys), lambda value, *others: (value is not None) == bool(test(*others)))
