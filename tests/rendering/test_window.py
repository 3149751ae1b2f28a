import os
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from marl.rendering.frames import STRIP_HEIGHT
from marl.rendering.window import SPEEDS, Controls, NoDisplayError, play
from marl.worlds.scene import Scene

# What a child process needs to play `scene(n)` for n = 0, 1, ... and to press keys on the way.
PLAYER = '''
import numpy as np, pyglet
from marl.rendering.frames import STRIP_HEIGHT
from marl.rendering.window import play
from marl.worlds.scene import Scene

def scene(index):
    black, top = np.array([[0, 0, 0, 255]], np.uint8), np.array([[0, 0.5]], np.float32)
    return Scene((1, 1), top, np.array([0.4], np.float32), black, str(index))

def scenes(count):
    for index in range(count):
        pulled.append(index)
        yield scene(index)

def press(key, after):
    pyglet.clock.schedule_once(lambda _: window().dispatch_event("on_key_press", key, 0), after)

def window():
    return next(iter(pyglet.app.windows))

def picture():
    """What the window shows, bottom row first."""
    window().dispatch_event("on_draw")  # after a flip the buffer holds anything
    buffer = pyglet.image.get_buffer_manager().get_color_buffer().get_image_data()
    pixels = np.frombuffer(buffer.get_data("RGB", 3 * buffer.width), np.uint8)
    return pixels.reshape(buffer.height, buffer.width, 3)

pulled = []
'''


def run(script, **environment):
    return subprocess.run(
        [sys.executable, "-c", PLAYER + textwrap.dedent(script)],
        env={key: value for key, value in os.environ.items() if key != "DISPLAY"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def display(tmp_path_factory):
    """The name of a virtual display."""
    pytest.importorskip("pyglet")
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed")
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "800x600x24"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        yield f":{server.stdout.readline().strip()}"
        server.terminate()


def due(controls, seconds, times):
    return sum(controls.next_is_due(seconds) for _ in range(times))


def test_scenes_are_due_at_the_rate_asked_for():
    controls = Controls(fps=10)
    assert [controls.next_is_due(0.0625) for _ in range(4)] == [False, True, False, True]
    assert due(controls, 1 / 64, 640) == pytest.approx(100, abs=1)


def test_nothing_is_due_while_paused():
    controls = Controls(fps=10)
    controls.press("SPACE")
    assert controls.paused
    assert due(controls, 1.0, 20) == 0
    controls.press("SPACE")
    assert not controls.paused
    assert controls.next_is_due(0.2)


@pytest.mark.parametrize("key", ["RIGHT", "PERIOD"])
def test_a_step_shows_one_scene_and_stays_paused(key):
    controls = Controls(fps=10)
    controls.press(key)
    assert controls.paused
    assert [controls.next_is_due(1.0) for _ in range(3)] == [True, False, False]
    controls.press(key)
    assert due(controls, 1.0, 3) == 1


@pytest.mark.parametrize(
    ("faster", "slower"), [("UP", "DOWN"), ("EQUAL", "MINUS"), ("NUM_ADD", "NUM_SUBTRACT")]
)
def test_the_speed_changes_within_its_limits(faster, slower):
    controls = Controls(fps=8)
    assert controls.speed == 1
    controls.press(faster)
    assert controls.speed == 2
    assert due(controls, 1 / 64, 640) == pytest.approx(160, abs=1)
    for _ in SPEEDS:
        controls.press(faster)
    assert controls.speed == max(SPEEDS)
    for _ in range(2 * len(SPEEDS)):
        controls.press(slower)
    assert controls.speed == min(SPEEDS)


@pytest.mark.parametrize("key", ["Q", "ESCAPE"])
def test_keys_that_quit(key):
    controls = Controls()
    controls.press("A")
    assert not controls.quit
    controls.press(key)
    assert controls.quit


def test_a_slow_scene_is_not_caught_up_with():
    controls = Controls(fps=10)
    assert controls.next_is_due(60.0)
    assert due(controls, 0.0, 10) <= 1


def test_the_help_line_tells_the_state():
    controls = Controls()
    assert "playing x1 " in controls.help
    controls.press("DOWN")
    assert "playing x0.5" in controls.help
    controls.press("SPACE")
    assert "paused x0.5" in controls.help


def test_keys_of_somebody_who_plays():
    controls = Controls(driving=True)
    for key in ("RIGHT", "UP", "DOWN", "LEFT"):
        controls.press(key)
    assert not controls.paused
    assert controls.speed == 1
    assert controls.help.startswith("playing x1   |   arrows move")
    controls.press("PLUS")
    assert controls.speed == 2
    controls.press("PERIOD")
    assert controls.paused


def test_trails_are_shown_on_demand():
    controls = Controls()
    assert "t trails" in controls.help
    for shown in (True, False):
        controls.press("T")
        assert controls.trails == shown


def test_no_scenes_need_no_display():
    play(iter(()), "empty")


def test_without_pyglet_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyglet", None)
    nothing = np.zeros(0)
    scene = Scene((1, 1), nothing.reshape(0, 2), nothing, nothing.reshape(0, 4))
    with pytest.raises(NoDisplayError, match=r'pip install "marl\[window\]"'):
        play(iter([scene]), "x")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a display")
def test_without_a_display_the_error_says_what_to_do():
    pytest.importorskip("pyglet")
    result = run('play(scenes(1), "x")')
    last = result.stderr.strip().splitlines()[-1]
    assert "NoDisplayError: No display is available" in last
    assert "--out FILE.gif" in last


def test_a_window_shows_the_scenes_and_closes_at_their_end_twice(display):
    result = run(
        """
        def shot(_):
            pixels = picture()
            height, width, _ = pixels.shape
            print(pixels[[height // 4, 3 * height // 4], width // 2].mean(axis=1))

        pyglet.clock.schedule_once(shot, 0.3)
        play(scenes(10), "first", fps=15)
        play(scenes(3), "second", fps=15)
        print(len(pulled), len(pyglet.app.windows))
        """,
        DISPLAY=display,
    )
    assert result.stdout.splitlines() == ["[252.   0.]", "13 0"], result


def test_keys_reach_the_window(display):
    result = run(
        """
        key, pictures = pyglet.window.key, []

        def note(after):
            def look(_):
                pictures.append(picture())
                print(len(pulled))
            pyglet.clock.schedule_once(look, after)

        press(key.SPACE, 0.3)
        note(0.4)
        press(key.UP, 0.5)
        note(0.6)
        press(key.RIGHT, 0.8)
        press(key.PERIOD, 1.2)
        note(1.6)
        press(key.Q, 1.7)
        play(scenes(10**6), "keys", fps=20)
        print(len(pulled), (pictures[0] != pictures[1]).any(axis=(1, 2)).nonzero()[0].max())
        """,
        DISPLAY=display,
    )
    paused, faster, stepped, quitted, highest_change = map(int, result.stdout.split())
    assert 1 <= paused <= 8
    assert faster == paused
    assert stepped == quitted == paused + 2
    assert highest_change < STRIP_HEIGHT  # the line of help shows the new speed, nothing else moved


def test_closing_the_window_and_a_failing_world_both_end_it(display):
    result = run(
        """
        pyglet.clock.schedule_once(lambda _: window().dispatch_event("on_close"), 0.2)
        play(scenes(10**6), "closed")
        print(len(pulled) < 10)

        def failing():
            yield scene(0)
            raise KeyError("world")

        try:
            play(failing(), "failing")
        except KeyError:
            print(len(pyglet.app.windows))
        """,
        DISPLAY=display,
    )
    assert result.stdout.split() == ["True", "0"], result


def test_scenes_that_come_when_they_come(display):
    """A loop of somebody else's: in time, and no longer once the window was closed."""
    result = run(
        """
        import time
        from marl.rendering.window import Viewer

        viewer, begun = Viewer("x", fps=20), time.perf_counter()
        for number in range(5):
            viewer.show(scene(number))
        print(time.perf_counter() - begun > 0.19, len(pyglet.app.windows))
        viewer._window.dispatch_event("on_close")
        viewer.show(scene(5))
        viewer.show(scene(6))
        print(len(pyglet.app.windows))
        viewer.close()
        """,
        DISPLAY=display,
    )
    assert result.stdout.split() == ["True", "1", "0"], result


def test_arrows_are_told_to_who_plays_and_trails_are_drawn(display):
    result = run(
        """
        key, told = pyglet.window.key, []

        class Keyboard:
            def press(self, name):
                told.append(name)
            def release(self, name):
                told.append("-" + name)

        def moving():
            for index in range(40):
                place = np.array([[index / 20 - 1, 0]], np.float32)
                black = np.array([[0, 0, 0, 255]], np.uint8)
                yield Scene((1, 1), place, np.array([0.1], np.float32), black, "x")

        def release(_):
            window().dispatch_event("on_key_release", key.LEFT, 0)

        dark = []
        def count(_):
            dark.append(int((picture() < 240).all(2).sum()))

        press(key.SPACE, 1.0)
        press(key.LEFT, 1.1)
        pyglet.clock.schedule_once(release, 1.2)
        pyglet.clock.schedule_once(count, 1.3)
        press(key.T, 1.4)
        press(key.PERIOD, 1.5)
        pyglet.clock.schedule_once(count, 1.8)
        press(key.Q, 1.9)
        play(moving(), "x", 15, Keyboard())
        print(told[1:3], dark[1] > dark[0] + 50)
        """,
        DISPLAY=display,
    )
    assert result.stdout.strip() == "['LEFT', '-LEFT'] True", result
