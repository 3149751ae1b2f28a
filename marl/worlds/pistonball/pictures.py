"""The pictures that pistons observe: what PettingZoo's pistonball_v6 shows them, grey and resized.

A view is the piston's own column and those beside it, down to the pistons' cylinders. There it is
120 pixels wide and 457 high, without smooth edges, and so is ours: a row of it is painted as a few
runs of one grey each, back to front. A small picture has, at each of its pixels, the mean of the
four nearest pixels of the view, weighted by how near they are. That is the resizing of SuperSuit.
Shapes and greys are as measured in PettingZoo's pictures.
"""

import math
from collections import namedtuple

import numpy as np
from numba import njit

from marl.worlds.compiled.cache import kernel
from marl.worlds.compiled.frames import FRAMES
from marl.worlds.pistonball.physics import FLOOR, PISTON, WALL

WIDTH, HEIGHT = 3 * int(PISTON), int(FLOOR - 23.0 - WALL)  # px of a view; its top is at WALL
COLUMN = int(PISTON)

WHITE, BLUE, DARK = 255, 137, 62  # the background; ball and rods; the ball's mark
WALLS = ((0, 20, 62), (20, 40, 73))  # runs of a wall from outside: start, stop, grey
BOXES = (  # of a piston's head: first and last column, first and last row; grey
    (4, 35, 0, 10, 180),
    (1, 38, 2, 7, 185),
    (0, 39, 4, 5, 180),
    (5, 34, 1, 9, 145),
    (2, 37, 2, 7, 165),
    (3, 36, 3, 6, 145),
    (8, 31, 3, 7, 73),
)
HEAD = np.zeros((11, COLUMN), np.float32)  # its greys, 0 where there is nothing
for first, last, upper, lower, grey in BOXES:
    HEAD[upper : lower + 1, first : last + 1] = grey
UP, BELOW = 5, 6  # px from the piston's place: up to the head's first row, down to the rod's
ROD = (11, 29)  # columns of a piston
EDGE = 1580.0  # a pixel is on the ball if its centre is this near to the ball's, squared
REACH = 41.0  # px: farther than the ball and its mark
MARK, HALF = (-0.5, 39.5), 1.35  # ends of the mark along the ball's radius; half its thickness

Canvas = namedtuple("Canvas", "lines places shares")
"""lines f32[2, WIDTH]: scratch. Column c of a picture is the mean of the columns places[c], u32[S],
and the next one of the view, which counts shares[c], f32[S], from 0 to 1."""

Past = namedtuple("Past", "pistons balls count")
"""The last states before the present one, oldest first, of E courts: pistons f64[E, 3, N]; balls
f64[E, 3, 8]; count i64[E], how many there have been in the episode, at most 3."""


@njit
def paint(line, start, stop, grey):
    """Make the pixels from `start` to before `stop` grey, as far as they are on the line."""
    for x in range(max(start, 0), min(stop, WIDTH)):
        line[x] = grey


@njit
def narrowed(ends, slope, offset, least, most):
    """The part of the interval `ends` in which slope x + offset is from `least` to `most`."""
    low, high = ends
    if abs(slope) < 1e-9:
        return ends if least <= offset <= most else (1.0, 0.0)
    one, other = (least - offset) / slope, (most - offset) / slope
    return max(low, min(one, other)), min(high, max(one, other))


@njit
def paint_ball(line, x, down, along, across):
    """The ball and its mark on a line. Their centre is at x; the line is `down` below it. The mark
    points to (along, across), of length 1."""
    square = EDGE - (down + 0.5) ** 2
    if square > 0.0:
        half = int(math.sqrt(square) + 0.5)
        paint(line, x - half, x + half, BLUE)
        ends = narrowed((-REACH, REACH), along, down * across, *MARK)
        low, high = narrowed(ends, -across, down * along, -HALF, HALF)
        paint(line, x + math.ceil(low), x + math.floor(high) + 1, DARK)


@njit
def paint_row(line, y, i, pistons, ball, along, across):
    """Row y of the view of piston i. The ball's mark points to (along, across), of length 1."""
    line[:] = WHITE
    left, top = COLUMN * i, int(WALL)
    paint_ball(line, int(ball[0]) - left, y - (int(ball[1]) - top), along, across)
    for k in range(3):
        at, j = COLUMN * k, i + k - 1
        if j < 0:
            for start, stop, grey in WALLS:
                paint(line, start, stop, grey)
        elif j >= len(pistons):
            for start, stop, grey in WALLS:
                paint(line, WIDTH - stop, WIDTH - start, grey)
        elif y >= int(pistons[j] + BELOW) - top:
            paint(line, at + ROD[0], at + ROD[1], BLUE)
        else:
            row = y - (int(pistons[j] - UP) - top)
            for x in range(COLUMN if row >= 0 else 0):
                if HEAD[row, x] > 0:
                    line[at + x] = HEAD[row, x]


@njit
def highest(i, pistons, ball):
    """A row of the view of piston i above which all rows are alike."""
    top = FLOOR
    for j in range(max(i - 1, 0), min(i + 2, len(pistons))):
        top = min(top, pistons[j] - UP)
    if abs(ball[0] - (COLUMN * i + WIDTH / 2)) < WIDTH / 2 + REACH:
        top = min(top, ball[1] - REACH)
    return int(top - WALL) - 1


@njit
def show(i, pistons, ball, canvas, picture):
    """What piston i sees, picture u8[S, S]."""
    size = len(picture)
    top = highest(i, pistons, ball)
    along, across = math.cos(ball[5]), math.sin(ball[5])
    upper, lower = canvas.lines
    for r in range(size):
        y = (r + 0.5) * (HEIGHT - 1) / size
        if r > 0 and y + 1.0 < top:
            picture[r] = picture[r - 1]
            continue
        paint_row(upper, int(y), i, pistons, ball, along, across)
        paint_row(lower, int(y) + 1, i, pistons, ball, along, across)
        share = np.float32(y - int(y))
        for x in range(WIDTH):
            upper[x] += share * (lower[x] - upper[x])
        for c in range(size):
            x = canvas.places[c]  # unsigned, or each look-up would ask whether it is negative
            beside = upper[x + np.uint32(1)]
            picture[r, c] = np.uint8(upper[x] + canvas.shares[c] * (beside - upper[x]))


@kernel
def show_all(pistons, balls, past, out):
    """The last pictures of all pistons, out u8[E, N, 4, S, S], zeros before an episode began: of
    the `past` and of the present states, pistons f64[E, N] and balls f64[E, 8]."""
    columns = (np.arange(out.shape[-1]) + 0.5) * (WIDTH - 1) / out.shape[-1]
    places = columns.astype(np.uint32)
    lines = np.empty((2, WIDTH), np.float32)
    canvas = Canvas(lines, places, (columns - places).astype(np.float32))
    worlds, n = pistons.shape
    for e in range(worlds):
        for i in range(n):
            for k in range(FRAMES - 1):
                if k < FRAMES - 1 - past.count[e]:
                    out[e, i, k] = 0
                else:
                    show(i, past.pistons[e, k], past.balls[e, k], canvas, out[e, i, k])
            show(i, pistons[e], balls[e], canvas, out[e, i, FRAMES - 1])
