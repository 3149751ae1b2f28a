"""A `Scene` to a picture: anti-aliased discs and one line of text, without a display."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from marl.worlds.scene import Scene

BACKGROUND = (252, 252, 252)
STRIP_BACKGROUND = (234, 236, 240)
STRIP_TEXT = (40, 44, 52)
STRIP_HEIGHT = 26  # pixels
FONT_SIZE = 15  # pixels
MARGIN = 8  # pixels left and right of the text

MIN_RADIUS = 1.3  # pixels; a smaller disc would fade into the background
PHASES = 2  # a centre is rounded to 1/PHASES of a pixel, so that slow motion looks smooth
SUBROWS = 8  # scan lines per pixel that the area of a disc is summed over


def draw(scene: Scene, size: int | None = None) -> np.ndarray:
    """Draw a scene, with its caption (if any) in a strip above the world.

    Args:
        scene: its discs blend in the given order. Discs outside the visible rectangle are clipped;
            a disc whose position is not finite is skipped.
        size: the longer side of the world in pixels; `default_size` if not given.

    Returns:
        u8[H, W, 3] RGB, top row first. H and W are even, as video codecs need.
    """
    if scene.picture is not None:
        return _captioned(scene, _evened(scene.picture))
    size = size or default_size(len(scene.positions))
    scale = size / (2 * max(scene.half_size))  # pixels per world unit
    width, height = (_even(2 * half * scale) for half in scene.half_size)

    radii = np.maximum(scene.radii * scale, MIN_RADIUS)
    centres = scene.positions * (scale, -scale) + (width / 2, height / 2)  # rows count downwards
    inside = (centres > -radii[:, None]) & (centres < radii[:, None] + (width, height))
    seen = inside.all(axis=1)  # False for NaN and infinity too

    cells, phases = np.divmod(np.rint(centres[seen] * PHASES).astype(int), PHASES)
    reaches = np.ceil(radii[seen]).astype(int)
    corners = cells - reaches[:, None]

    image = Image.new("RGB", (width, height), BACKGROUND)
    columns = (corners, phases, radii[seen], scene.colours[seen])
    # Plain Python numbers: NumPy's own would double the time of this loop.
    for corner, phase, radius, (*rgb, alpha) in zip(*(c.tolist() for c in columns), strict=True):
        image.paste(tuple(rgb), tuple(corner), _mask(radius, *phase, alpha))

    return _captioned(scene, np.asarray(image))


def _captioned(scene: Scene, world: np.ndarray) -> np.ndarray:
    return np.vstack([strip(scene.caption, world.shape[1]), world]) if scene.caption else world


def _evened(picture: np.ndarray) -> np.ndarray:
    """Without its last row or column, if their number is odd."""
    height, width, _ = picture.shape
    return picture[: height - height % 2, : width - width % 2]


def default_size(discs: int) -> int:
    """Pixels for this many discs: 480 up to 160 of them, about 800 for 2000, 1260 for 20 000."""
    return round(480 * max(discs / 160, 1) ** 0.2)


def strip(text: str, width: int) -> np.ndarray:
    """One line of text as u8[STRIP_HEIGHT, width, 3]; a long text gets a smaller font."""
    room = max(width - 2 * MARGIN, 1)
    font = _font(FONT_SIZE)
    font = _font(FONT_SIZE * min(room / max(font.getlength(text), 1), 1))
    image = Image.new("RGB", (width, STRIP_HEIGHT), STRIP_BACKGROUND)
    middle = (MARGIN, STRIP_HEIGHT / 2)
    ImageDraw.Draw(image).text(middle, text, STRIP_TEXT, font, anchor="lm")
    return np.asarray(image)


def _even(pixels: float) -> int:
    return max(2 * round(pixels / 2), 2)


@lru_cache(maxsize=16)
def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


@lru_cache(maxsize=1024)
def _mask(radius: float, phase_x: int, phase_y: int, alpha: int) -> Image.Image:
    """Covered share of each pixel, times alpha. The centre is at `ceil(radius)` plus the phase."""
    reach = int(np.ceil(radius))
    side = 2 * reach + 1
    columns = np.arange(side + 1) - (reach + phase_x / PHASES)
    rows = (np.arange(side * SUBROWS) + 0.5) / SUBROWS - (reach + phase_y / PHASES)
    chords = np.sqrt(np.maximum(radius**2 - rows**2, 0))[:, None]  # half of each
    covered = np.diff(np.clip(columns, -chords, chords), axis=1)  # exact along a scan line
    share = covered.reshape(side, SUBROWS, side).mean(axis=1)
    return Image.fromarray(np.rint(share * alpha).astype(np.uint8))
