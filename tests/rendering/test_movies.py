import sys

import numpy as np
import pytest
from PIL import Image

from marl.rendering import movies
from marl.rendering.frames import draw
from marl.rendering.movies import GIF_LIMIT, save
from marl.worlds.scene import Scene


def squares(count, size=(32, 40)):
    """Frames that all differ: a dark square that moves to the right."""
    for index in range(count):
        frame = np.full((*size, 3), 250, np.uint8)
        frame[8:16, index % 30 : index % 30 + 8] = (20, 60, 200)
        yield frame


def crowd(count, agents, seed=0):
    """Frames of agents on a random walk at constant density, with as many landmarks."""
    random = np.random.default_rng(seed)
    half = (agents / 4) ** 0.5
    positions = random.uniform(-half, half, (2 * agents, 2))
    colours = np.repeat(np.array([(64, 120, 220, 150), (205, 45, 50, 255)], np.uint8), agents, 0)
    for step in range(count):
        positions[:agents] += 0.1 * random.normal(size=(agents, 2))
        radii = np.repeat(np.float32([0.15, 0.05]), agents)
        yield draw(Scene((half, half), positions.astype(np.float32), radii, colours, f"{step}"))


def gif_frames(path):
    """The RGB frames of a GIF and how long each shows, in milliseconds."""
    with Image.open(path) as image:
        frames, durations = [], []
        for index in range(image.n_frames):
            image.seek(index)
            durations.append(image.info["duration"])
            frames.append(np.asarray(image.convert("RGB")))
    return frames, durations


@pytest.mark.parametrize("fps", [15, 10, 7])
def test_a_gif_comes_back_with_its_frames_and_its_speed(tmp_path, fps):
    save(squares(20), tmp_path / "a.gif", fps)
    frames, durations = gif_frames(tmp_path / "a.gif")
    assert len(frames) == 20
    assert sum(durations) == pytest.approx(20_000 / fps, abs=5)
    assert max(durations) - min(durations) <= 10
    for frame, original in zip(frames, squares(20), strict=True):
        assert np.abs(frame.astype(int) - original).max() <= 8


def test_a_gif_loops_for_ever(tmp_path):
    save(squares(3), tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as image:
        assert image.info["loop"] == 0


def test_a_gif_is_never_faster_than_browsers_play_it(tmp_path):
    save(squares(24), tmp_path / "a.gif", fps=120)
    frames, durations = gif_frames(tmp_path / "a.gif")
    assert len(frames) == 8
    assert min(durations) >= 20
    assert sum(durations) == 200


def test_a_gif_keeps_rare_colours(tmp_path):
    green, frames = (22, 160, 80), list(crowd(6, agents=200))
    for frame in frames:
        frame[100:103, 200:203] = green
    save(frames, tmp_path / "a.gif")
    for frame in gif_frames(tmp_path / "a.gif")[0]:
        assert np.abs(frame[101, 201].astype(int) - green).max() < 20


def test_a_hundred_frames_of_eighty_agents_fit_as_they_are(tmp_path):
    save(crowd(100, agents=80), tmp_path / "a.gif")
    assert (tmp_path / "a.gif").stat().st_size < GIF_LIMIT / 2
    frames, durations = gif_frames(tmp_path / "a.gif")
    assert len(frames) == 100
    assert sum(durations) == 6670


def test_a_gif_that_is_too_large_is_thinned_at_the_right_speed(tmp_path, monkeypatch):
    frames = list(crowd(21, agents=80))
    save(frames, tmp_path / "whole.gif")
    limit = (tmp_path / "whole.gif").stat().st_size // 3
    monkeypatch.setattr(movies, "GIF_LIMIT", limit)
    save(frames, tmp_path / "thin.gif")
    assert (tmp_path / "thin.gif").stat().st_size <= limit
    thinned, durations = gif_frames(tmp_path / "thin.gif")
    assert 3 <= len(thinned) <= 7
    assert sum(durations) == 1400
    every = -(-21 // len(thinned))
    assert np.abs(thinned[1].astype(int) - frames[every]).mean() < 0.5


def test_a_gif_of_one_frame_is_written_whatever_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr(movies, "GIF_LIMIT", 10)
    save(squares(4), tmp_path / "a.gif")
    assert len(gif_frames(tmp_path / "a.gif")[0]) == 1


@pytest.mark.parametrize("size", [(32, 40), (33, 41)])
def test_an_mp4_comes_back_with_its_frames(tmp_path, size):
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    save(squares(12, size), tmp_path / "a.mp4", fps=10)
    reader = ffmpeg.read_frames(str(tmp_path / "a.mp4"))
    meta = next(reader)
    assert meta["size"] == (size[1] + size[1] % 2, size[0] + size[0] % 2)
    assert meta["fps"] == 10
    assert meta["pix_fmt"].startswith("yuv420p")
    films = [np.frombuffer(raw, np.uint8).reshape(*meta["size"][::-1], 3) for raw in reader]
    assert len(films) == 12
    for frame, original in zip(films, squares(12, size), strict=True):
        assert np.abs(frame[:32, :40].astype(int) - original[:32, :40]).mean() < 4


def test_an_mp4_without_its_extra_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ValueError, match=r'pip install "marl\[video\]"'):
        save(squares(2), tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []


def test_ffmpeg_that_writes_too_little_is_noticed(tmp_path, monkeypatch):
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    monkeypatch.setattr(ffmpeg, "count_frames_and_secs", lambda path: (1, 0.1))
    with pytest.raises(OSError, match="2 frames"):
        save(squares(2), tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_png_is_the_last_frame(tmp_path):
    save(squares(5), tmp_path / "new" / "folder" / "a.PNG")
    *_, last = squares(5)
    with Image.open(tmp_path / "new" / "folder" / "a.PNG") as image:
        np.testing.assert_array_equal(np.asarray(image), last)


@pytest.mark.parametrize("name", ["a.avi", "a"])
def test_another_suffix_is_refused_before_a_frame_is_made(tmp_path, name):
    frames = squares(1)
    with pytest.raises(ValueError, match=r"\.gif, \.mp4, \.png"):
        save(frames, tmp_path / name)
    assert len(list(frames)) == 1


@pytest.mark.parametrize("suffix", [".gif", ".mp4", ".png"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, suffix):
    if suffix == ".mp4":
        pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")

    def broken():
        yield from squares(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save(broken(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_while_writing_leaves_the_old_file_too(tmp_path, monkeypatch):
    path = tmp_path / "a.gif"
    path.write_bytes(b"old")

    def full_disk(self, target, **options):
        target.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        save(squares(3), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_frames_that_make_no_film_are_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    with pytest.raises(ValueError, match="no frames"):
        save([], path)
    with pytest.raises(ValueError, match="one shape"):
        save([*squares(1), *squares(1, (8, 40))], path)
    with pytest.raises(ValueError, match="fps"):
        save(squares(1), path, fps=0)
    assert list(tmp_path.iterdir()) == []
