"""What a piston observes: the same numbers for any number of pistons."""

from marl.worlds.compiled.cache import kernel
from marl.worlds.pistonball.physics import LOWEST, PISTON, WALL

LENGTH = 80.0  # px: the unit of lengths, the ball's diameter
SPEED = 50.0  # px/s: the unit of velocities
TURN = 5.0  # rad/s: the unit of the spin
FAR = 2.0  # lengths: what is farther away to a side is seen this far away

OWN, BALL, OTHER = 3, 5, 3  # numbers of each part; the last one for each piston nearby


@kernel
def look(pistons, ball, window, out):
    """The observations of all pistons, out f32[E, N, 8 + 6 window], of the states pistons f64[E, N]
    and ball f64[E, 8]; see the world for their layout. Here y points up."""
    worlds, n = pistons.shape
    for e in range(worlds):
        for i in range(n):
            seen = out[e, i]
            x, y = WALL + PISTON * (i + 0.5), pistons[e, i]
            seen[0] = (LOWEST - y) / LENGTH
            seen[1] = min((i + 0.5) * PISTON / LENGTH, FAR)
            seen[2] = min((n - i - 0.5) * PISTON / LENGTH, FAR)
            seen[3] = min(max((ball[e, 0] - x) / LENGTH, -FAR), FAR)
            seen[4] = min(max((y - ball[e, 1]) / LENGTH, -FAR), FAR)
            seen[5], seen[6] = ball[e, 2] / SPEED, -ball[e, 3] / SPEED
            seen[7] = ball[e, 4] / TURN
            at = OWN + BALL
            for k in range(-window, window + 1):
                if k == 0:
                    continue
                there = 0 <= i + k < n
                seen[at] = k * PISTON / LENGTH if there else 0.0
                seen[at + 1] = (y - pistons[e, i + k]) / LENGTH if there else 0.0
                seen[at + 2] = 1.0 if there else 0.0
                at += OTHER
