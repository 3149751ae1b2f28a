"""A live window that plays scenes. Keys pause, step, change the speed, show trails, and play an
agent if a human plays."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np

from marl.rendering.frames import STRIP_BACKGROUND, draw, strip
from marl.rendering.movies import FPS
from marl.rendering.trails import Trails
from marl.worlds.scene import Scene

if TYPE_CHECKING:
    import pyglet

SPEEDS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
REDRAWS = 60  # a second, and so the most scenes a second
SCREEN_SHARE = 0.85  # of the screen that a new window takes at most


ARROWS = ("LEFT", "RIGHT", "UP", "DOWN")


class Keys(Protocol):
    """An object that is told which keys are held down, by pyglet's names for them."""

    def press(self, key: str) -> None: ...

    def release(self, key: str) -> None: ...


class NoDisplayError(RuntimeError):
    """No window can be opened; the message says what to do instead."""


class Controls:
    """The viewer's requests, and the time of the next scene. It knows nothing of any window."""

    def __init__(self, fps: float = FPS, driving: bool = False):
        """`driving`: the arrow keys play an agent."""
        self.fps, self.driving = fps, driving
        self.paused = self.trails = False
        self.quit = False
        self._speed = SPEEDS.index(1.0)
        self._owed = 0.0  # scenes, the part of one that is not yet due included

    @property
    def speed(self) -> float:
        """Times `fps`."""
        return SPEEDS[self._speed]

    @property
    def help(self) -> str:
        """One line for the viewer: the state and the keys."""
        state, space = ("paused", "go on") if self.paused else ("playing", "pause")
        step, speed = (". step", "+/- speed") if self.driving else ("right step", "up/down speed")
        keys = f"space {space}   {step}   {speed}   t trails   q quit"
        if self.driving:
            keys = f"arrows move   {keys}"
        return f"{state} x{self.speed:g}   |   {keys}"

    def press(self, key: str) -> None:
        """Take one key by pyglet's name for it, such as `"SPACE"`; other keys are ignored."""
        if self.driving and key in ARROWS:
            return
        match key:
            case "SPACE":
                self.paused = not self.paused
            case "T":
                self.trails = not self.trails
            case "RIGHT" | "PERIOD":
                self.paused = True
                self._owed = 1.0
            case "UP" | "PLUS" | "EQUAL" | "NUM_ADD":
                self._speed = min(self._speed + 1, len(SPEEDS) - 1)
            case "DOWN" | "MINUS" | "NUM_SUBTRACT":
                self._speed = max(self._speed - 1, 0)
            case "Q" | "ESCAPE":
                self.quit = True

    def next_is_due(self, seconds: float) -> bool:
        """Whether to show another scene, after this much time since the last call."""
        if not self.paused:
            self._owed += seconds * self.fps * self.speed
        if self._owed < 1:
            return False
        self._owed = min(self._owed - 1, 1)  # after a slow scene, do not race to catch up
        return True


def play(scenes: Iterator[Scene], title: str, fps: float = FPS, hands: Keys | None = None) -> None:
    """Show scenes in a window until they end or the viewer quits.

    A scene is requested only when it is due, so a world can be stepped during the show. The keys
    are listed below the picture: space pauses, right or `.` steps, up and down or + and - change
    the speed, t shows trails, q or escape quits.

    Args:
        scenes: the scenes in order.
        title: of the window.
        fps: scenes per second at speed x1; at most `REDRAWS` at any speed.
        hands: objects that get the arrow keys; these keys then control no speed and no steps.

    Raises:
        NoDisplayError: pyglet is not installed, or finds no display.
    """
    first = next(scenes, None)
    if first is not None:
        _Show(scenes, first, title, Controls(fps, hands is not None), hands).run()


class _Show:
    """A window in which scenes are played. Methods named on_... are told of its events."""

    def __init__(
        self,
        scenes: Iterator[Scene],
        first: Scene,
        title: str,
        controls: Controls,
        hands: Keys | None,
    ) -> None:
        self.scenes, self.scene = scenes, first
        self.controls, self.hands, self.trails = controls, hands, Trails()
        self.trails.note(first)
        shown = _compose(first, controls)
        self.window = _open(title, shown)
        self.texture = _texture(shown)

    def run(self) -> None:
        """Until the scenes end or the viewer quits."""
        import pyglet

        self.window.push_handlers(self.on_key_press, self.on_key_release, self.on_draw)
        pyglet.clock.schedule_interval(self.tick, 1 / REDRAWS)
        try:
            pyglet.app.run(None)  # None: `tick` draws
        finally:
            pyglet.clock.unschedule(self.tick)
            self.window.close()

    def show(self, scene: Scene) -> None:
        """Show it from the next drawing on."""
        drawn = self.trails.below(scene) if self.controls.trails else scene
        self.scene, self.texture = scene, _texture(_compose(drawn, self.controls))

    def on_key_press(self, symbol: int, modifiers: int) -> None:
        self.controls.press(_key(symbol))
        if self.hands is not None:
            self.hands.press(_key(symbol))
        self.show(self.scene)

    def on_key_release(self, symbol: int, modifiers: int) -> None:
        if self.hands is not None:
            self.hands.release(_key(symbol))

    def on_draw(self) -> None:
        import pyglet

        red, green, blue = (part / 255 for part in STRIP_BACKGROUND)
        pyglet.gl.glClearColor(red, green, blue, 1)
        window, texture = self.window, self.texture
        window.clear()
        scale = min(window.width / texture.width, window.height / texture.height)
        width, height = texture.width * scale, texture.height * scale
        left, bottom = (window.width - width) / 2, (window.height - height) / 2
        texture.blit(left, bottom, width=width, height=height)

    def tick(self, seconds: float) -> None:
        """Go on to the next scene, if it is due, and draw."""
        import pyglet

        due = not self.controls.quit and self.controls.next_is_due(seconds)
        scene = next(self.scenes, None) if due else self.scene
        if scene is None or self.controls.quit:
            pyglet.app.exit()
            return
        if scene is not self.scene:
            self.trails.note(scene)
            self.show(scene)
        self.window.draw(seconds)


def _key(symbol: int) -> str:
    """Pyglet's name for a key."""
    import pyglet

    return pyglet.window.key.symbol_string(symbol)


class Viewer:
    """A window for scenes from a caller's own loop. It opens with the first scene. Raises
    NoDisplayError, as `play`."""

    def __init__(self, title: str, fps: float = FPS) -> None:
        """At most `fps` scenes a second are shown: `show` waits."""
        self.title, self.fps = title, fps
        self._window: pyglet.window.Window | None = None
        self._due = 0.0

    def show(self, scene: Scene) -> None:
        """Show a scene. A closed window stays closed."""
        frame = draw(scene)
        if self._window is None:
            self._window = _open(self.title, frame)
        if self._window.has_exit:
            self.close()
            return
        time.sleep(max(self._due - time.perf_counter(), 0.0))
        self._due = time.perf_counter() + 1 / self.fps
        self._window.switch_to()
        self._window.dispatch_events()
        self._window.clear()
        _texture(frame).blit(0, 0, width=self._window.width, height=self._window.height)
        self._window.flip()

    def close(self) -> None:
        """Close the window."""
        if self._window is not None:
            self._window.close()


def _compose(scene: Scene, controls: Controls) -> np.ndarray:
    """The frame of the scene with the state and the keys below it, u8[H, W, 3]."""
    frame = draw(scene)
    return np.vstack([frame, strip(controls.help, frame.shape[1])])


def _texture(frame: np.ndarray) -> pyglet.image.Texture:
    from pyglet.image import ImageData

    height, width, _ = frame.shape
    top_row_first = -3 * width
    return ImageData(width, height, "RGB", frame.tobytes(), top_row_first).get_texture()


def _open(title: str, frame: np.ndarray) -> pyglet.window.Window:
    """A window of the size of the frame, or smaller where the screen is."""
    try:
        import pyglet
    except ImportError as error:
        raise NoDisplayError(
            'The live window needs an extra: pip install "marl[window]", or write a file with '
            "--out FILE.gif instead."
        ) from error
    try:
        import pyglet.window  # opens the display

        screen = pyglet.display.get_display().get_default_screen()
        height, width, _ = frame.shape
        room = min(screen.width / width, screen.height / height) * SCREEN_SHARE
        scale = min(room, 1)
        return pyglet.window.Window(
            round(width * scale), round(height * scale), caption=title, resizable=True
        )
    except Exception as error:  # what is raised differs by platform and by what is missing
        raise NoDisplayError(
            f"No display is available for a live window ({error}): write a file with "
            "--out FILE.gif instead, or set DISPLAY or run under xvfb-run."
        ) from error
