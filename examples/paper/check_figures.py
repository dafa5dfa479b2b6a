"""Measures of figures.py on cases that are worked out by hand. Needs NumPy alone; a test runs it.

    python3 examples/paper/check_figures.py
"""

from types import SimpleNamespace

import numpy as np

from figures import Chain, Draws, curve, drift, fragility, gains, interval, matched, over_orders, ratio_less_one, read, spearman

LN2 = np.log(2)


def near(a, b):
    assert np.allclose(a, b), (a, b)


def windows(documents, size):
    return SimpleNamespace(documents=np.array(documents), bytes=np.array(size, dtype=float))


def draws_are_of_documents():
    text = {"x": windows([0, 0, 1], [10, 10, 20])}
    draws = Draws(text, 2000)
    bits = draws.bits("x", np.array([10.0, 10.0, 40.0]) * LN2)
    near(bits[0], 60 / 40)  # the text as it is
    # A draw has two documents: twice the first (1 bit a byte), twice the second (2), or each once.
    assert {round(float(b), 6) for b in bits[1:]} == {1.0, 1.5, 2.0}
    low, high = np.quantile(bits[1:], [0.025, 0.975])
    near(interval(bits), [1.5, low, high])


def chain_of(l, base, order):
    """A chain whose bits a byte are `l[i][domain]`."""
    domains = list(l[0])
    text = {d: windows([0], [1.0]) for d in domains}
    draws = Draws(text, 1)
    cells = [{"nats": {d: np.array([v * LN2]) for d, v in row.items()}} for row in l]
    return Chain(draws, domains, base, order, cells[1:], cells[0])


def measures_are_those_of_the_protocol():
    # One base domain, two new ones: b is taught first, then c.
    l = [{"a": 2.0, "b": 4.0, "c": 5.0}, {"a": 1.5, "b": 3.0, "c": 4.5}, {"a": 2.6, "b": 3.25, "c": 3.5}]
    chain = chain_of(l, ["a"], ["b", "c"])
    near(chain.forgetting()[0], ((2.6 - 1.5) + (3.25 - 3.0)) / 2)  # from the best since it was taught
    near(chain.backward()[0], ((2.0 - 2.6) + (3.0 - 3.25)) / 2)
    near(chain.plasticity()[0], ((4.0 - 3.0) + (4.5 - 3.5)) / 2)
    near(chain.forward()[0], ((4.0 - 4.0) + (5.0 - 4.5)) / 2)
    near(chain.intransigence({"b": 2.5, "c": 3.0})[0], (0.5 + 0.5) / 2)
    # A domain that comes again is taught the first time.
    again = chain_of(l + [{"a": 2.0, "b": 3.5, "c": 3.5}], ["a"], ["b", "c", "b"])
    assert again.taught == {"a": 0, "b": 1, "c": 2} and again.new == ["b", "c"]
    near(again.forgetting()[0], ((2.0 - 1.5) + (3.5 - 3.0) + (3.5 - 3.5)) / 3)


def drift_counts_tokens_of_older_domains():
    chain = chain_of([{"a": 1.0, "b": 1.0}] * 3, ["a"], ["b", "b"])
    at = lambda a: {"routes": {"a": np.array(a), "b": np.array([[9, 9]])}}
    chain.cells = [at([[0, 0, 1, 1], [0, 0, 0, 0]]), at([[5, 5, 5, 5], [5, 5, 5, 5]]), at([[0, 2, 1, 1], [0, 0, 0, 2]])]
    chain.cells[1]["routes"]["b"] = np.array([[9, 9], [9, 9]])
    chain.cells[2]["routes"]["b"] = np.array([[9, 9], [9, 8]])
    near(drift(chain), (2 / 4 + 1 / 2) / 2)  # in any layer, and since the stage that taught it


def matched_reads_between_the_best_points():
    points = [(0.2, 0.1), (0.4, 0.3), (0.3, 0.5)]
    assert curve(points) == [(0.0, 0.0), (0.2, 0.1), (0.4, 0.3)]  # more loss for less gain is nobody's choice
    near(read(points, 0.3), 0.2)
    near(read(points, 0.1), 0.05)
    d, at, f_a, f_c = matched(points, [(0.3, 0.05)])
    near([d, at, f_a, f_c], [1 - 0.05 / 0.2, 0.3, 0.2, 0.05])
    # Where A forgets nothing there is no ratio, and none that is beyond all bounds.
    assert matched([(0.2, -0.01), (0.5, 0.2)], [(0.2, 0.001)])[0] == 0.0
    assert matched([(0.2, -0.01)], [(0.2, -0.02)])[0] == 1.0
    # What it gained only by forgetting less than nothing counts as nothing.
    near(matched(points, [(0.3, -0.1)])[0], 1.0)
    near(ratio_less_one(np.array([0.1, -0.2]), np.array([0.4, 0.4])), [0.75, 1.0])


def orders_are_drawn_too():
    values = [np.full(3001, 1.0), np.full(3001, 3.0)]
    mean = over_orders(values)
    assert mean[0] == 2.0 and set(mean[1:]) == {1.0, 2.0, 3.0}


def fragility_is_as_defined():
    l0, tuned = {"s": 4.0, "t": 2.0, "u": 2.0}, {"s": 3.0, "t": 2.2, "u": 2.0}
    g = gains(l0, tuned, "s")
    near([g["s"], g["t"], g["u"]], [0.25, -0.1, 0.0])
    found = fragility(g, "s")
    near([found["DSI"], found["GG"], found["CDTR"]], [0.30, 0.05, -0.2])
    assert fragility({"s": 0.005, "t": 0.1}, "s")["CDTR"] is None
    near(spearman([1, 2, 3, 4], [10, 20, 15, 40]), 0.8)
    near(spearman([1, 1, 2, 2], [3, 3, 1, 1]), -1.0)  # equal values have equal ranks


def main():
    checks = [draws_are_of_documents, measures_are_those_of_the_protocol, drift_counts_tokens_of_older_domains,
              matched_reads_between_the_best_points, orders_are_drawn_too, fragility_is_as_defined]
    for check in checks:
        check()
    print(f"{len(checks)} checks of figures.py hold")


if __name__ == "__main__":
    main()
