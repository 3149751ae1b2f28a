"""Our actions in the spaces of environments, and who may do what."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from marl.worlds.pettingzoo.spaces import Kind

EVERYWHERE = np.linspace(-1, 1, 41, dtype=np.float32)


def of(low, high, dtype):
    return Kind(("a",), Box(-1, 1, (1,)), Box(low, high, (1,), dtype))


@pytest.mark.parametrize(
    ("low", "high", "dtype", "middle"),
    [
        (-1, 1, np.int32, 0),
        (0, 255, np.uint8, 128),
        (-128, 127, np.int8, 0),
        (-(2**63), 2**63 - 1, np.int64, 0),
        (0, 2**64 - 1, np.uint64, 2**63),
        (-3, -2, np.int16, -2),
        (0, 1, np.float32, 0.5),
        (-3.4e38, 3.4e38, np.float32, 0),
        (-1.7e308, 1.7e308, np.float64, 0),
        (-65504, 65504, np.float16, 0),
    ],
)
def test_actions_reach_both_ends_of_a_box_and_never_leave_it(low, high, dtype, middle):
    kind = of(low, high, dtype)
    taken = [kind.given(np.array([x])) for x in EVERYWHERE]
    assert all(x.dtype == dtype and kind.action.contains(x) for x in taken)
    low, high = dtype(low), dtype(high)
    assert [x[0] for x in (taken[0], taken[20], taken[-1])] == [low, dtype(middle), high]
    assert (np.diff(np.array(taken)[:, 0].astype(float)) >= 0).all()


def test_whole_numbers_are_rounded():
    kind = of(-1, 1, np.int32)
    assert [int(kind.given(np.array([x]))[0]) for x in (-0.6, -0.4, 0.4, 0.6)] == [-1, 0, 0, 1]


def test_choices_begin_where_their_space_begins():
    one, several = Discrete(2, start=5), MultiDiscrete([2, 3], start=[-1, 4])
    assert Kind(("a",), one, one).given(np.array([0, 1])) == 6
    taken = Kind(("a",), one, several).given(np.array([1, 0, 0, 0, 1]))
    assert taken.tolist() == [-1, 6]
    assert several.contains(taken)
