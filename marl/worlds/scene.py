"""A picture of a world at one moment, as data. Worlds hand it to `marl.rendering`."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scene:
    """A picture of one world at one moment. Lengths are in world units; y points up; discs are
    drawn in order.

    A disc with a position that is not finite is not drawn.
    """

    half_size: tuple[float, float]  # the visible rectangle is [-w, w] x [-h, h]
    positions: np.ndarray  # f32[M, 2] centres of the discs
    radii: np.ndarray  # f32[M]
    colours: np.ndarray  # u8[M, 4]  RGBA, alpha blended
    caption: str = ""  # one line, e.g. "80 agents   step 34   coverage 0.91"
    picture: np.ndarray | None = None  # u8[H, W, 3] instead of discs, where a world draws itself
