"""Copies of an environment, stepped in worker processes."""

import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from marl.errors import WorldFailed
from marl.plugins import imported
from marl.processes import safe_path
from marl.worlds.base import Arrays
from marl.worlds.pettingzoo.contract import Broken, Copy, Turn
from marl.worlds.pettingzoo.spaces import Kind


def make_environment(make_env: Callable[..., Any] | str, options: dict[str, Any]) -> Any:
    """An environment. One whose agents observe pictures, some of which are drawn only if asked for
    (pistonball's are frozen otherwise), is made with render_mode "rgb_array", if it has that."""
    make = imported(make_env) if isinstance(make_env, str) else make_env
    env = make(**options)
    if options.get("render_mode") is not None or not _frozen(env):
        return env
    env.close()
    try:
        return make(**{**options, "render_mode": "rgb_array"})
    except TypeError:  # it has the mode, but no such argument
        return make(**options)


def _frozen(env: Any) -> bool:
    """May the pictures that the agents observe be frozen?"""
    modes = (getattr(env, "metadata", None) or {}).get("render_modes", ())
    if "rgb_array" not in modes or getattr(env, "render_mode", "") is not None:
        return False
    spaces = [env.observation_space(agent) for agent in env.possible_agents]
    return any(x.dtype == np.uint8 and len(x.shape or ()) > 1 for x in spaces)


class Boards:
    """Shared arrays that all processes read and write: {name: [E, ...]}."""

    def __init__(
        self, kinds: Mapping[str, Kind], num_worlds: int, shared: bool, measures: Sequence[str] = ()
    ) -> None:
        groups = {g: kind.group for g, kind in kinds.items()}
        shapes: dict[str, tuple[str, tuple[int, ...]]] = {"cut": ("?", ()), "seed": ("q", ())}
        for g, group in groups.items():
            n, seen = (len(group),), group.observation_space
            shapes |= {
                f"observation.{g}": ("B" if group.picture else "f", n + seen.shape),
                f"action.{g}": ("f", n + group.action_space.shape),
                f"reward.{g}": ("f", n),
                f"terminated.{g}": ("?", n),
                f"active.{g}": ("?", n),
            }
        shapes |= {f"measure.{name}": ("f", ()) for name in measures}
        self._shapes = {name: (kind, (num_worlds, *rest)) for name, (kind, rest) in shapes.items()}
        context = get_context("spawn")
        sizes = {
            name: max(1, int(np.prod(shape)) * np.dtype(kind).itemsize)
            for name, (kind, shape) in self._shapes.items()
        }
        self._memory = {
            name: context.RawArray("b", size) if shared else bytearray(size)
            for name, size in sizes.items()
        }

    def arrays(self) -> Arrays:
        return {
            name: np.frombuffer(self._memory[name], np.dtype(kind), int(np.prod(shape))).reshape(
                shape
            )
            for name, (kind, shape) in self._shapes.items()
        }


class _Worlds:
    """The copies `mine`, in one process."""

    def __init__(
        self,
        make_env: Callable[[], Any],
        kinds: Mapping[str, Kind],
        boards: Boards,
        mine: range,
    ) -> None:
        self._copies = {e: Copy(make_env(), kinds) for e in mine}
        self._boards = boards.arrays()
        self._places = {
            name: (g, i) for g, kind in kinds.items() for i, name in enumerate(kind.names)
        }
        self._kinds = {name: kind for kind in kinds.values() for name in kind.names}

    def reset(self, worlds: Sequence[int]) -> None:
        """Begin episodes with the seeds on the board."""
        boards = self._boards
        for e in worlds:
            observation = self._copies[e].reset(int(boards["seed"][e]))
            boards["cut"][e] = False
            for g in dict.fromkeys(g for g, _ in self._places.values()):
                boards[f"terminated.{g}"][e] = False
                boards[f"observation.{g}"][e] = 0
            self._show(e, Turn(observation, {}, set(), set()))

    def step(self, worlds: Sequence[int]) -> None:
        """Act with the actions on the board."""
        boards = self._boards
        for e in worlds:
            actions = {name: boards[f"action.{g}"][e, i] for name, (g, i) in self._places.items()}
            turn = self._copies[e].step(actions)
            boards["cut"][e] |= bool(turn.truncated)
            self._show(e, turn)

    def _show(self, e: int, turn: Turn) -> None:
        boards, here = self._boards, {*self._copies[e].here}
        for name in boards:
            kind, _, measure = name.partition(".")
            if kind == "measure":
                boards[name][e] = self._copies[e].env.measures[measure]
        for agent, (g, i) in self._places.items():
            self._show_to(agent, boards[f"observation.{g}"][e, i], turn.observation.get(agent))
            boards[f"reward.{g}"][e, i] = turn.reward.get(agent, 0.0)
            boards[f"active.{g}"][e, i] = agent in here
            boards[f"terminated.{g}"][e, i] |= agent in turn.terminated

    def _show_to(self, agent: str, board: np.ndarray, seen: np.ndarray | None) -> None:
        """Put what an agent sees on its board; a picture after those that it saw before. None: it
        has left."""
        kind = self._kinds[agent]
        if seen is None or not kind.picture:
            board[:] = 0 if seen is None else seen
            return
        board[: -len(seen)] = board[len(seen) :]
        board[-len(seen) :] = seen

    def picture(self, worlds: Sequence[int]) -> Any:
        """A picture of the first copy, u8[H, W, 3], or None."""
        return self._copies[worlds[0]].env.render()

    def close(self, worlds: Sequence[int]) -> None:
        for e in worlds:
            self._copies[e].env.close()


def _serve(
    pipe: Connection,
    make_env: Callable[[], Any],
    kinds: Mapping[str, Kind],
    boards: Boards,
    mine: range,
) -> None:
    """Answer requests (what, worlds) from the pipe with (result, error)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks will say when to end
    try:
        worlds = _Worlds(make_env, kinds, boards, mine)
        while True:
            what, which = pipe.recv()
            pipe.send((getattr(worlds, what)(which), None))
            if what == "close":
                return
    except EOFError:
        return
    except Exception as error:
        pipe.send((None, _told(error)))


def _told(error: Exception) -> str:
    """A failure of an environment as a sentence."""
    if isinstance(error, Broken):
        return str(error)
    return f"an environment failed: {type(error).__name__}: {error}"


class Process:
    """A worker."""

    def __init__(self, *args: Any) -> None:
        context = get_context("spawn")
        self._pipe, other = context.Pipe()
        process = context.Process(target=_serve, args=(other, *args), daemon=True)
        with safe_path():
            process.start()
        other.close()

    def ask(self, what: str, which: Sequence[int]) -> None:
        with suppress(BrokenPipeError):  # `answer` will say that it has died
            self._pipe.send((what, which))

    def answer(self) -> Any:
        try:
            result, error = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            raise WorldFailed("a process in which environments were stepped has died") from None
        if error:
            raise WorldFailed(error)
        return result


class Here:
    """The same interface in this process."""

    def __init__(self, *args: Any) -> None:
        self._worlds = _Worlds(*args)

    def ask(self, what: str, which: Sequence[int]) -> None:
        try:
            self._result = getattr(self._worlds, what)(which)
        except Exception as error:
            raise WorldFailed(_told(error)) from error

    def answer(self) -> Any:
        return self._result
