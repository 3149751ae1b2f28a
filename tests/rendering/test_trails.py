"""Where things have been."""

import numpy as np

from marl.rendering.frames import draw
from marl.rendering.trails import LENGTH, SIZE, Trails, trailed
from marl.worlds.scene import Scene


def scene(x, discs=2):
    """One disc at x, the others where they always are."""
    positions = np.zeros((discs, 2), np.float32)
    positions[0, 0] = x
    colours = np.full((discs, 4), 200, np.uint8)
    return Scene((2.0, 2.0), positions, np.full(discs, 0.1, np.float32), colours, "x")


def test_what_has_moved_leaves_a_trail():
    seen = list(trailed(scene(0.1 * t) for t in range(4)))
    assert [len(s.positions) for s in seen] == [2, 3, 4, 5]
    last = seen[-1]
    np.testing.assert_allclose(last.positions[:3, 0], [0.0, 0.1, 0.2], atol=1e-6)
    assert np.allclose(last.radii[:3], SIZE * 0.1)
    fading = last.colours[:3, 3].astype(int)
    assert (np.diff(fading) > 0).all()
    assert fading[-1] < 200
    np.testing.assert_array_equal(last.positions[-2:], scene(0.3).positions)  # drawn above
    assert last.caption == "x"


def test_trails_end():
    many = list(trailed(scene(0.05 * t) for t in range(LENGTH + 10)))
    assert len(many[-1].positions) == 2 + LENGTH - 1
    *_, other = trailed([scene(0.0), scene(0.1), scene(0.2, discs=3)])
    assert len(other.positions) == 3


def test_what_is_not_there_leaves_none():
    trails = Trails()
    trails.note(scene(np.nan))
    now = scene(0.5)
    trails.note(now)
    assert len(trails.below(now).positions) == 2
    assert draw(trails.below(now)).shape[2] == 3
