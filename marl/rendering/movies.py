"""Frames to a file: GIF, MP4 or PNG, written whole or not at all."""

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from marl.destinations import partial_file, put

FPS = 15.0  # for worlds with a step of 0.1 s: one and a half times real time

GIF_LIMIT = 3_000_000  # bytes
GIF_COLOURS = 64
GIF_MAX_FPS = 50  # browsers slow down a GIF that asks for more


def save(frames: Iterable[np.ndarray], path: str | Path, fps: float = FPS) -> None:
    """Write frames to a file; its suffix sets the format.

    - `.gif`: loops for ever. Stays below `GIF_LIMIT` by leaving out every second frame, or more, at
      the right speed. Holds all frames in memory.
    - `.mp4`: H.264 for browsers. Needs the extra `marl[video]`.
    - `.png`: the last frame.

    Missing folders are made. The file appears, or replaces an older one, only once it is complete.
    Devices, pipes and links stay what they are.

    Args:
        frames: u8[H, W, 3] each, all of one shape, at least one.
        path: the file to write.
        fps: frames per second of playing time.

    Raises:
        ValueError: another suffix, no frames, frames of different shapes, an `fps` that is not
            positive, or `.mp4` without the extra.
        OSError: the file cannot be written.
    """
    path = Path(path)
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise ValueError(f"cannot write {path.name!r}: use one of {', '.join(_WRITERS)}")
    if not fps > 0:
        raise ValueError(f"fps must be positive, got {fps}")
    partial = partial_file(path, f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(_checked(frames), partial, fps)
        put(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _checked(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    shape = None
    for frame in frames:
        shape = shape or frame.shape
        if frame.shape != shape:
            raise ValueError(f"all frames must have one shape, got {shape} and {frame.shape}")
        yield frame
    if shape is None:
        raise ValueError("there are no frames to save")


def _png(frames: Iterator[np.ndarray], path: Path, fps: float) -> None:
    (last,) = deque(frames, maxlen=1)
    Image.fromarray(last).save(path, optimize=True)


def _mp4(frames: Iterator[np.ndarray], path: Path, fps: float) -> None:
    try:
        import imageio_ffmpeg  # an extra: its wheel carries an ffmpeg of 80 MB
    except ImportError as error:
        raise ValueError('.mp4 files need an extra: pip install "marl[video]"') from error

    first = next(frames)
    height, width, _ = first.shape
    writer = imageio_ffmpeg.write_frames(
        str(path),
        (width, height),
        fps=fps,
        quality=6,  # a crf of 20
        macro_block_size=1,  # keeps the size, but for the padding to even that yuv420p needs
        output_params=["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-movflags", "+faststart"],
    )
    sent = 0
    with closing(writer):
        writer.send(None)
        for frame in chain([first], frames):
            writer.send(np.ascontiguousarray(frame))
            sent += 1
    # The library does not pass on ffmpeg's exit status, so count what arrived.
    if not path.exists() or imageio_ffmpeg.count_frames_and_secs(str(path))[0] != sent:
        raise OSError(f"ffmpeg could not write {sent} frames")


def _gif(frames: Iterator[np.ndarray], path: Path, fps: float) -> None:
    images = [Image.fromarray(frame) for frame in frames]
    palette = _palette(images[:: math.ceil(len(images) / 8)])
    images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]

    every = math.ceil(fps / GIF_MAX_FPS)
    while True:
        shown = range(0, len(images), every)
        # GIF counts hundredths of a second: round the moments, so that no error adds up.
        moments = [round(100 * index / fps) for index in (*shown, len(images))]
        images[0].save(
            path,
            save_all=True,
            append_images=[images[index] for index in shown[1:]],
            duration=[10 * (after - before) for before, after in pairwise(moments)],
            loop=0,
            optimize=True,  # stores what changed since the frame before
        )
        size = path.stat().st_size
        if size <= GIF_LIMIT or len(shown) == 1:
            return
        every = max(every + 1, int(every * size / GIF_LIMIT))


def _palette(images: list[Image.Image]) -> Image.Image:
    """The most frequent colours, then repeatedly the colour with the largest error under them.

    Median cut would spend the palette on shades of the edges. It would lose the few discs with
    their own colour, such as one covered landmark among a thousand others.
    """
    stack = Image.fromarray(np.concatenate([np.asarray(image) for image in images]))
    counts: Any = stack.getcolors(maxcolors=stack.width * stack.height)  # [(count, (r, g, b))]
    colours = np.array([rgb for _, rgb in sorted(counts, reverse=True)])
    chosen: list[int] = []
    gaps = np.full(len(colours), np.inf)  # of each colour to the nearest chosen one
    for rank in range(min(GIF_COLOURS, len(colours))):
        pick = rank if rank < GIF_COLOURS // 2 else int(gaps.argmax())
        chosen.append(pick)
        gaps = np.minimum(gaps, np.abs(colours - colours[pick]).max(axis=1))
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours[chosen].flatten().tolist())
    return palette


_WRITERS: dict[str, Callable[[Iterator[np.ndarray], Path, float], None]] = {
    ".gif": _gif,
    ".mp4": _mp4,
    ".png": _png,
}
