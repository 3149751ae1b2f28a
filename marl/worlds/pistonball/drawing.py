"""A picture of a court: walls, pistons and the ball."""

import numpy as np

from marl.worlds.pistonball.physics import (
    FLOOR,
    HEAD_HALF,
    HEIGHT,
    LOWEST,
    PISTON,
    RADIUS,
    TRAVEL,
    WALL,
)
from marl.worlds.scene import Scene

WIDEST = 30 * PISTON  # of a picture; of a longer row, the stretch around the ball is shown
TOP = LOWEST - TRAVEL - 3 * RADIUS  # of the picture; nothing gets there
GREY, GREEN = (150, 150, 150, 255), (70, 160, 90, 255)
HEAD, ROD = (65, 120, 200, 255), (160, 185, 220, 255)
BALL, MARK = (210, 130, 40, 255), (90, 60, 30, 255)


def scene(pistons: np.ndarray, ball: np.ndarray, steps: int) -> Scene:
    """A court with piston heads at the heights f[N]; ball as in `physics.Court`. The wall to reach
    is green."""
    n = len(pistons)
    width = PISTON * n + 2 * WALL
    shown = min(width, WIDEST)
    left = min(max(ball[0] - shown / 2, 0.0), width - shown)
    first, last = int(max((left - WALL) // PISTON, 0)), int((left + shown - WALL) // PISTON + 1)
    x = WALL + PISTON * (np.arange(n)[first:last] + 0.5)
    heads = pistons[first:last]

    along = np.linspace(HEAD_HALF - PISTON / 2, PISTON / 2 - HEAD_HALF, 11)
    down = np.linspace(0.0, 1.0, 25)
    mark = 0.7 * RADIUS * np.array([np.cos(ball[5]), np.sin(ball[5])])
    discs = [
        (_points(x[:, None], heads[:, None] + (FLOOR - heads)[:, None] * down), 5.0, ROD),
        (_points(x[:, None] + along, heads[:, None]), HEAD_HALF, HEAD),
        (_points(np.arange(left, left + shown, 5.0), (FLOOR + HEIGHT) / 2), WALL / 2, GREY),
        (_points(width - WALL / 2, np.arange(TOP, HEIGHT, 5.0)), WALL / 2, GREY),
        (_points(WALL / 2, np.arange(TOP, HEIGHT, 5.0)), WALL / 2, GREEN),
        (ball[None, :2], RADIUS, BALL),
        (ball[None, :2] + mark, RADIUS / 8, MARK),
    ]
    middle = np.array([left + shown / 2, (TOP + HEIGHT) / 2])
    return Scene(
        half_size=(shown / 2, (HEIGHT - TOP) / 2),
        positions=np.concatenate([(at - middle) * (1, -1) for at, _, _ in discs]).astype(
            np.float32
        ),
        radii=np.concatenate([np.full(len(at), r) for at, r, _ in discs]).astype(np.float32),
        colours=np.concatenate([np.tile(c, (len(at), 1)) for at, _, c in discs]).astype(np.uint8),
        caption=f"{n} pistons   step {steps}",
    )


def _points(x: np.ndarray | float, y: np.ndarray | float) -> np.ndarray:
    """f[M, 2]: the points with these coordinates, broadcast against each other."""
    return np.stack(np.broadcast_arrays(x, y), -1).reshape(-1, 2)
