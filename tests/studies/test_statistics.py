"""Against rliable 1.2.0 (numpy 2.4.6, arch 7.2.0), whose values below were recorded with

    f = lambda s: np.array([metrics.aggregate_iqm(s), metrics.aggregate_median(s),
                            metrics.aggregate_mean(s), metrics.aggregate_optimality_gap(s)])
    np.random.seed(0); library.get_interval_estimates({"X": X}, f, reps=2000)
    np.random.seed(0); library.get_interval_estimates({"XY": (X, Y)},
                                                      metrics.probability_of_improvement, reps=2000)

and against hand-computed numbers."""

import itertools

import numpy as np
import pytest
from scipy import stats

from marl.studies.statistics import (
    interval,
    iqm,
    mean,
    median,
    paired_test,
    probability_of_improvement,
)

X = np.array(
    [[0.777, 0.682, 0.607], [0.75, 0.906, 0.564], [0.925, 0.858, 0.503], [0.717, 0.931, 0.459],
     [0.5, 0.701, 0.747], [0.641, 0.901, 0.501], [0.837, 0.871, 0.88], [0.586, 0.646, 0.737],
     [0.666, 0.92, 0.804], [0.79, 0.777, 0.834]]
)  # fmt: skip
Y = np.array(
    [[0.318, 0.66, 0.936], [0.843, 0.665, 0.824], [0.667, 0.647, 0.791], [0.541, 0.61, 0.749],
     [0.756, 0.621, 0.767], [0.648, 0.831, 0.795], [0.63, 0.708, 0.56]]
)  # fmt: skip
ESTIMATES = {
    "iqm": iqm,
    "median": lambda s: np.median(s.mean(0)),  # rliable's: of the tasks' means
    "mean": np.mean,
    "optimality gap": lambda s: 1 - np.minimum(s, 1).mean(),
}
RECORDED = [
    (X, [0.74775, 0.7189000000000001, 0.7339333333333333, 0.2660666666666667],
     [0.688496875, 0.6569975, 0.6887291666666666, 0.2230633333333333],
     [0.8014453125, 0.78531, 0.7769366666666667, 0.31127083333333333]),
    (Y, [0.698909090909091, 0.6774285714285716, 0.6936666666666668, 0.30633333333333335],
     [0.6539863636363636, 0.6387142857142857, 0.644427380952381, 0.25804404761904776],
     [0.749275, 0.7422964285714284, 0.7419559523809522, 0.3555726190476191]),
    (X[:5, :1], [0.7480000000000001, 0.7338, 0.7338, 0.2662],
     [0.5723333333333334, 0.6, 0.6, 0.15159999999999996],
     [0.8756666666666666, 0.8484, 0.8484, 0.4]),
]  # fmt: skip


@pytest.mark.parametrize(("scores", "points", "lows", "highs"), RECORDED)
def test_estimates_and_intervals_are_rliables(scores, points, lows, highs):
    for estimate, *expected in zip(ESTIMATES.values(), points, lows, highs, strict=True):
        found = [estimate(scores), *interval(estimate, scores)]
        assert found == pytest.approx(expected, abs=1e-6)


def test_probability_of_improvement_is_rliables():
    found = [probability_of_improvement(X, Y), *interval(probability_of_improvement, X, Y)]
    assert found == pytest.approx([0.6, 0.461904761904762, 0.7333333333333334], abs=1e-6)
    assert probability_of_improvement(X, X) == 0.5
    assert probability_of_improvement(X + 1, X) == 1.0


def test_by_hand():
    scores = np.array([[1.0], [2.0], [3.0], [10.0], [-5.0]])
    assert iqm(scores) == 2.0  # without -5 and 10
    assert median(scores) == 2.0
    assert iqm(scores[:1]) == median(scores[:1]) == 1.0
    assert interval(iqm, scores[:1]) == (1.0, 1.0)


def test_pairs():
    assert paired_test([1, 2, 3, 4, 5], [0, 0, 0, 0, 0]) == 2 / 32
    assert paired_test([1, 2, 3], [1, 2, 3]) == 1.0
    assert paired_test([1, -1], [0, 0]) == 1.0
    rng = np.random.default_rng(0)
    for n in (6, 11, 40):
        a = rng.normal(size=n)
        b = a + rng.normal(0.3, 1.0, size=n)
        expected = stats.permutation_test(
            (a, b), lambda x, y, axis: (x - y).mean(axis), permutation_type="samples", rng=1
        ).pvalue
        assert paired_test(a, b) == pytest.approx(expected, abs=1e-9 if n < 20 else 0.02)
    flips = itertools.product([1, -1], repeat=3)
    difference = np.array([0.5, -0.2, 0.1])
    means = [abs(np.dot(flip, difference)) for flip in flips]
    assert paired_test(difference, 0 * difference) == np.mean(np.array(means) >= 0.4 - 1e-12)


def medians(values):
    """Over runs of means over episodes: [M]."""
    return np.median(values.mean(1), axis=0)


def test_interval_over_runs_and_episodes():
    low, high = interval(medians, np.array([[[0.0, 3.0], [1.0, 3.0]]]), crossed=2)
    assert (low.tolist(), high.tolist()) == ([0.0, 3.0], [1.0, 3.0])
    episodes = np.random.default_rng(0).normal(size=(1, 50, 1))
    low, high = interval(medians, episodes, crossed=2)
    half = 1.96 * episodes.std() / np.sqrt(50)
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)
    same = interval(medians, np.repeat(episodes, 4, axis=0), crossed=2)
    assert (same[1] - same[0]) / 2 == pytest.approx(half, rel=0.1)  # the same starts say no more
    apart = np.array([0.0, 1.0, 2.0])[:, None, None] + 0 * episodes
    assert [float(end[0]) for end in interval(medians, apart, crossed=2)] == [0.0, 2.0]


def test_interval_over_runs_their_rivals_and_episodes():
    values = np.random.default_rng(1).normal(0, 1, (1, 1, 400))
    expected = values.mean() - 0.098, values.mean() + 0.098
    assert interval(mean, values, crossed=3) == pytest.approx(expected, abs=0.02)
    apart = np.array([0.0, 1.0])[:, None, None] + np.zeros((2, 3, 50))
    assert interval(mean, apart, crossed=3) == (0.0, 1.0)  # two runs that far apart say little
    alone = np.array([0.3, 0.1, 0.8])
    assert interval(mean, alone, crossed=1) == interval(mean, alone[:, None, None], crossed=3)
