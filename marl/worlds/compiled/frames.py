"""Pictures as observations: the last four at once, drawn anew from the last states.

States are kept, and not pictures, which would take hundreds of times the memory.
"""

from collections.abc import Sequence

import numpy as np
from gymnasium.spaces import Box

from marl.worlds.spaces import Part

FRAMES = 4  # pictures that are observed at once


def picture_space(size: int) -> tuple[Box, tuple[Part, ...]]:
    """The observation space and parts of grey pictures of so many pixels a side."""
    part = Part("picture", FRAMES, scalars=size * size, picture=(1, size, size))
    return Box(0, 255, (FRAMES, size, size), np.uint8), (part,)  # type: ignore[arg-type]


def remember(
    past: Sequence[np.ndarray], now: Sequence[np.ndarray], count: np.ndarray, going: np.ndarray
) -> None:
    """Make the states `now`, [E, ...] each, the newest ones of `past`, [E, 3, ...] each, in the
    worlds of going, bool[E]. count, i64[E]: how many past states an episode has, at most 3."""
    for before, present in zip(past, now, strict=True):
        before[going] = np.concatenate([before[going, 1:], present[going, None]], axis=1)
    count[going] = np.minimum(count[going] + 1, FRAMES - 1)
