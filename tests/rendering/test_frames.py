import numpy as np
import pytest

from marl.rendering.frames import BACKGROUND, MIN_RADIUS, STRIP_HEIGHT, default_size, draw
from marl.worlds.scene import Scene

BLACK = (0, 0, 0, 255)


def scene(*discs, half_size=(1.0, 1.0), caption=""):
    """Each disc is (x, y, radius, colour)."""
    x, y, radii, colours = zip(*discs, strict=True) if discs else ((), (), (), ())
    return Scene(
        half_size=half_size,
        positions=np.array([x, y], np.float32).T,
        radii=np.array(radii, np.float32),
        colours=np.array(colours, np.uint8).reshape(-1, 4),
        caption=caption,
    )


def ink(frame):
    """Share of each pixel that a black disc covers, f64[H, W]."""
    return 1 - frame[..., 0] / BACKGROUND[0]


def test_an_empty_scene_is_background():
    frame = draw(scene(), size=100)
    assert frame.shape == (100, 100, 3)
    assert frame.dtype == np.uint8
    assert (frame == BACKGROUND).all()


@pytest.mark.parametrize("x", [-0.5, 0.0, 0.2625])
@pytest.mark.parametrize("y", [-0.31, 0.5])
def test_a_disc_lands_where_it_should_with_y_up(x, y):
    covered = ink(draw(scene((x, y, 0.1, BLACK)), size=200))
    rows, columns = np.indices(covered.shape) + 0.5
    column, row = (covered * columns).sum() / covered.sum(), (covered * rows).sum() / covered.sum()
    assert column == pytest.approx(100 + 100 * x, abs=0.3)
    assert row == pytest.approx(100 - 100 * y, abs=0.3)


@pytest.mark.parametrize("radius", [1.5, 1.9, 3.6, 12.25, 60.0])
@pytest.mark.parametrize("shift", [0.0, 0.25, 0.6])
def test_the_area_of_a_disc_is_pi_r_squared(radius, shift):
    covered = ink(draw(scene((shift / 100, 0, radius / 100, BLACK)), size=200))
    assert covered.sum() == pytest.approx(np.pi * radius**2, rel=0.02)


def test_a_disc_is_symmetric():
    covered = ink(draw(scene((0, 0, 0.1, BLACK)), size=100))
    np.testing.assert_array_equal(covered, covered[::-1])
    np.testing.assert_array_equal(covered, covered[:, ::-1])


def test_half_a_pixel_of_motion_shows():
    frames = [draw(scene((x / 100, 0, 0.05, BLACK)), size=200) for x in (0, 0.5)]
    assert (frames[0] != frames[1]).any()


def test_a_tiny_disc_stays_visible():
    covered = ink(draw(scene((0, 0, 1e-6, BLACK)), size=100))
    assert covered.sum() == pytest.approx(np.pi * MIN_RADIUS**2, rel=0.02)


def test_colours_blend_by_alpha_in_the_order_given():
    red, blue = (200, 0, 0, 255), (0, 0, 240, 128)
    both = draw(scene((0, 0, 0.5, red), (0, 0, 0.2, blue)), size=100)
    assert both[50, 70].tolist() == [200, 0, 0]
    assert np.abs(both[50, 50] - np.array([100, 0, 120])).max() <= 1
    hidden = draw(scene((0, 0, 0.2, blue), (0, 0, 0.5, red)), size=100)
    assert hidden[50, 50].tolist() == [200, 0, 0]


def test_a_disc_with_alpha_zero_is_invisible():
    assert (draw(scene((0, 0, 0.5, (0, 0, 0, 0))), size=50) == BACKGROUND).all()


def test_what_lies_outside_is_clipped():
    covered = ink(draw(scene((1, 1, 0.2, BLACK)), size=200))
    assert covered.sum() == pytest.approx(np.pi * 20**2 / 4, rel=0.03)
    assert covered[:20, 180:].sum() == pytest.approx(covered.sum())


def test_positions_that_cannot_be_drawn_are_skipped():
    far = [(np.nan, 0), (0, np.nan), (np.inf, 0), (0, -np.inf), (1e30, 0), (-5, 5)]
    frame = draw(scene(*[(x, y, 0.1, BLACK) for x, y in far]), size=100)
    assert (frame == BACKGROUND).all()


def test_the_frame_has_the_shape_of_the_world_and_even_sides():
    assert draw(scene(half_size=(3, 1)), size=301).shape == (100, 300, 3)
    wide = ink(draw(scene((2.9, 0.9, 0.1, BLACK), half_size=(3, 1)), size=300))
    assert wide[:10, -10:].sum() == pytest.approx(wide.sum(), rel=0.01)


def test_the_caption_has_a_strip_of_its_own():
    discs = [(0, 1, 0.3, BLACK)]
    plain = draw(scene(*discs), size=200)
    captioned = draw(scene(*discs, caption="80 agents"), size=200)
    assert (captioned[STRIP_HEIGHT:] == plain).all()
    assert captioned[:STRIP_HEIGHT].min() < 60  # dark text


def test_a_long_caption_is_set_smaller():
    strip = draw(scene(caption="many words " * 12), size=300)[:STRIP_HEIGHT]
    assert strip[:, :200].min() < strip[:, -4:].min() == strip.max(axis=(0, 1)).min()


def test_the_default_size_grows_with_the_number_of_discs():
    assert default_size(0) == default_size(160) == 480
    assert 720 <= default_size(2000) <= 820
    assert 1200 <= default_size(20_000) <= 1400
    assert draw(scene((0, 0, 0.1, BLACK))).shape == (480, 480, 3)


def test_drawing_leaves_the_scene_alone():
    drawn = scene((0.3, 0.2, 0.001, BLACK))
    before = drawn.positions.copy(), drawn.radii.copy(), drawn.colours.copy()
    first, second = draw(drawn, 100), draw(drawn, 100)
    assert (first == second).all()
    for old, new in zip(before, (drawn.positions, drawn.radii, drawn.colours), strict=True):
        np.testing.assert_array_equal(old, new)
