"""The optimal assignment against scipy's."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from marl.worlds.particles.assignment import assign, matched


@settings(max_examples=200, deadline=None)
@given(
    rows=st.integers(1, 12),
    more=st.integers(0, 8),
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["real", "signed", "few values"]),
)
def test_assignment_costs_as_little_as_scipys(rows, more, seed, kind):
    """Square and rectangular; with ties, any of the best will do."""
    cost = np.random.default_rng(seed).random((rows, rows + more))
    if kind == "signed":
        cost = cost - 0.5
    elif kind == "few values":
        cost = np.floor(3 * cost)
    match = assign(cost)
    assert len(set(match)) == rows
    assert match.min() >= 0
    best = linear_sum_assignment(cost)
    assert np.isclose(cost[np.arange(rows), match].sum(), cost[best].sum(), atol=1e-9)
    if kind != "few values":
        assert match.tolist() == best[1].tolist()


@settings(max_examples=200, deadline=None)
@given(
    rows=st.integers(1, 8),
    more=st.integers(0, 4),
    seed=st.integers(0, 10**6),
    strange=st.sampled_from([np.nan, np.inf, -np.inf]),
)
def test_costs_that_are_not_finite_still_give_a_matching(rows, more, seed, strange):
    random = np.random.default_rng(seed)
    cost = random.random((rows, rows + more))
    cost[random.random(cost.shape) < 0.5] = strange
    match = assign(cost)
    assert len(set(match)) == rows
    assert match.min() >= 0
    assert match.max() < rows + more


def test_the_nearest_is_not_always_ones_own():
    """Taking the nearest one after another would cost 1 + 100."""
    assert assign(np.array([[1.0, 2.0], [1.5, 100.0]])).tolist() == [1, 0]


def test_nothing_to_assign():
    assert assign(np.zeros((0, 3))).tolist() == []


def test_the_matching_of_many_worlds_is_compiled_once_and_kept():
    """The oracle and the learned messages call it, in every process."""
    assert matched.stats.cache_path
