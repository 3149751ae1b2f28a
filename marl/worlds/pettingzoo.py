"""Any PettingZoo parallel environment as a world of ours: E copies side by side, stepped in worker
processes.

>>> world = PettingZooWorld("pettingzoo.sisl.multiwalker_v9:parallel_env", num_worlds=8, seed=0)

Agents with the same spaces whose names differ in the number at the end are a group, called as what
is before the number. Observations of any space are flattened to numbers. Actions: a bounded Box is
-1 to 1, scaled to its bounds; Discrete and MultiDiscrete are choices. Agents that are gone see and
earn zeros, are not `active`, and have `terminated`, unless their time ran out.

Every episode begins with a seed of its own, so that it can be played again: what is stored of a
world is which episode it is in and what was done since that began.
"""

import importlib
import itertools
import os
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, cached_property, partial
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Space
from gymnasium.spaces.utils import flatten, flatten_space
from pydantic import Field, model_validator

from marl.errors import WorldFailed
from marl.imports import imported
from marl.worlds.base import Arrays, Group, Part, Step, World, WorldConfig
from marl.worlds.scene import Scene

PREFIX = "pettingzoo:"  # of names in configs
FAMILIES = ("atari", "butterfly", "classic", "mpe", "sisl")  # that PettingZoo itself has or had


def _made(make_env: Callable[..., Any] | str, options: dict[str, Any]) -> Any:
    return (imported(make_env) if isinstance(make_env, str) else make_env)(**options)


class _Kind(NamedTuple):
    """A group of agents: names and their spaces."""

    names: tuple[str, ...]
    observation: Space
    action: Space

    @property
    def group(self) -> Group:
        seen = flatten_space(self.observation).shape
        numbers, parts = 0.0, []
        if isinstance(self.action, Box):
            size = int(np.prod(self.action.shape))
            numbers, parts = -1.0, [Part("action", scalars=size)]
        else:
            counts = [self.action.n] if isinstance(self.action, Discrete) else self.action.nvec  # type: ignore[attr-defined]
            parts = [Part(f"choice_{i}", scalars=int(n), choice=True) for i, n in enumerate(counts)]
            size = sum(part.size for part in parts)
        return Group(
            self.names,
            Box(-np.inf, np.inf, seen, np.float32),
            Box(numbers, 1.0, (size,), np.float32),
            (),
            tuple(parts),
        )

    def given(self, action: np.ndarray) -> Any:
        """An action of ours, f32[A], as the environment takes it."""
        space = self.action
        if isinstance(space, Box):
            share = (np.clip(action, -1.0, 1.0).reshape(space.shape) + 1.0) / 2.0
            return (space.low + share * (space.high - space.low)).astype(space.dtype)
        if isinstance(space, Discrete):
            return int(space.start) + int(action.argmax())
        assert isinstance(space, MultiDiscrete)
        ends = np.cumsum(space.nvec)[:-1]
        chosen = [int(piece.argmax()) for piece in np.split(action, ends)]
        return np.array(chosen, space.dtype)


def _kinds(env: Any, groups: Mapping[str, Sequence[str]] | None) -> dict[str, _Kind]:
    """The groups of an environment. Raises ValueError, in one sentence, for what cannot be one."""
    spaces = {a: (env.observation_space(a), env.action_space(a)) for a in env.possible_agents}
    if groups is None:
        found: dict[tuple, list[str]] = {}
        for agent, (seen, done) in spaces.items():
            prefix = re.sub(r"_?\d+$", "", agent) or "agents"
            found.setdefault((prefix, str(seen), str(done)), []).append(agent)
        prefixes = [prefix for prefix, *_ in found]
        names = [
            prefix if prefixes.count(prefix) == 1 else f"{prefix}_{i}"
            for i, prefix in enumerate(prefixes)
        ]
        groups = dict(zip(names, found.values(), strict=True))
    listed = sorted(agent for agents in groups.values() for agent in agents)
    if listed != sorted(spaces):
        raise ValueError(f"groups has the agents {listed}; there are {sorted(spaces)}")
    kinds = {}
    for g, agents in groups.items():
        first, *others = (spaces[agent] for agent in agents)
        if any(own != first for own in others):
            raise ValueError(f"the agents of group {g!r} have different spaces")
        seen, done = first
        if not getattr(flatten_space(seen), "shape", None):
            raise ValueError(f"what group {g!r} observes, {seen}, is no list of numbers")
        bounded = isinstance(done, Box) and done.is_bounded()
        flat = isinstance(done, MultiDiscrete) and done.nvec.ndim == 1
        if not (bounded or flat or isinstance(done, Discrete)):
            raise ValueError(
                f"the action space of group {g!r} is {done}, but should be a bounded Box, Discrete "
                "or MultiDiscrete of one axis"
            )
        kinds[g] = _Kind(tuple(agents), seen, done)
    return kinds


# ---------------------------------------------------------------------------------------- stepping


class _Boards:
    """Arrays that all processes read and write: {name: [E, ...]}."""

    def __init__(self, kinds: Mapping[str, _Kind], num_worlds: int, shared: bool) -> None:
        groups = {g: kind.group for g, kind in kinds.items()}
        shapes: dict[str, tuple[str, tuple[int, ...]]] = {"cut": ("?", ()), "seed": ("q", ())}
        for g, group in groups.items():
            n = (len(group),)
            shapes |= {
                f"observation.{g}": ("f", n + group.observation_space.shape),
                f"action.{g}": ("f", n + group.action_space.shape),
                f"reward.{g}": ("f", n),
                f"terminated.{g}": ("?", n),
                f"active.{g}": ("?", n),
            }
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
    """Some of the copies, `mine`, in one process."""

    def __init__(
        self,
        make_env: Callable[[], Any],
        kinds: Mapping[str, _Kind],
        boards: _Boards,
        mine: range,
    ) -> None:
        self._envs = {e: make_env() for e in mine}
        self._kinds, self._boards = kinds, boards.arrays()
        self._places = {
            name: (g, i) for g, kind in kinds.items() for i, name in enumerate(kind.names)
        }

    def reset(self, worlds: Sequence[int]) -> None:
        """Begin episodes with the seeds on the board."""
        boards = self._boards
        for e in worlds:
            observation, _ = self._envs[e].reset(seed=int(boards["seed"][e]))
            boards["cut"][e] = False
            for g in self._kinds:
                boards[f"terminated.{g}"][e] = False
            self._show(e, observation, {}, {})

    def step(self, worlds: Sequence[int]) -> None:
        """Act as the board says."""
        boards = self._boards
        for e in worlds:
            env, actions = self._envs[e], {}
            if not env.agents:
                raise RuntimeError(f"the episode of world {e} is over: call reset() before step()")
            for agent in env.agents:
                g, i = self._places[agent]
                actions[agent] = self._kinds[g].given(boards[f"action.{g}"][e, i])
            observation, reward, terminated, truncated, _ = env.step(actions)
            if any(truncated.values()):
                boards["cut"][e] = True
            self._show(e, observation, reward, terminated)

    def _show(self, e: int, observation: dict, reward: dict, terminated: dict) -> None:
        boards, here = self._boards, {*self._envs[e].agents}
        for agent, (g, i) in self._places.items():
            row = boards[f"observation.{g}"][e, i]
            row[:] = 0.0
            if agent in observation:
                row[:] = flatten(self._kinds[g].observation, observation[agent])
            boards[f"reward.{g}"][e, i] = reward.get(agent, 0.0)
            boards[f"active.{g}"][e, i] = agent in here
            boards[f"terminated.{g}"][e, i] |= bool(terminated.get(agent, False))

    def picture(self, worlds: Sequence[int]) -> Any:
        """Of the first of them, u8[H, W, 3], or None."""
        return self._envs[worlds[0]].render()

    def close(self, worlds: Sequence[int]) -> None:
        for e in worlds:
            self._envs[e].close()


def _serve(
    pipe: Connection,
    make_env: Callable[[], Any],
    kinds: Mapping[str, _Kind],
    boards: _Boards,
    mine: range,
) -> None:
    """Do what is asked for through the pipe: (what, worlds); answer (result, error)."""
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
        pipe.send((None, f"{type(error).__name__}: {error}"))


class _Process:
    """A worker."""

    def __init__(self, *args: Any) -> None:
        context = get_context("spawn")
        self._pipe, other = context.Pipe()
        process = context.Process(target=_serve, args=(other, *args), daemon=True)
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
            raise WorldFailed(f"an environment failed: {error}")
        return result


class _Here:
    """The same in this process."""

    def __init__(self, *args: Any) -> None:
        self._worlds = _Worlds(*args)

    def ask(self, what: str, which: Sequence[int]) -> None:
        try:
            self._result = getattr(self._worlds, what)(which)
        except Exception as error:
            raise WorldFailed(f"an environment failed: {type(error).__name__}: {error}") from error

    def answer(self) -> Any:
        return self._result


# ------------------------------------------------------------------------------------------- world


class PettingZooWorld(World):
    """E copies of an environment; see the top of this file.

    Parameters: make_env, called with the `options`: a function, or "module:NAME" of one, as it must
    be where other processes are to call it and it is not what a module calls so (such as MPE2's);
    num_worlds E; seed; processes, over which the copies are shared out (None: as many as there are
    cores; 0: none but this one; results do not depend on it); groups {name: agents}, where they
    shall be others than those inferred. With `render_mode="rgb_array"` among its options it can be
    drawn.

    Its metric is the return of an episode: rewards summed over the steps so far, the mean over the
    agents.
    """

    outcomes = frozenset({"return"})

    def __init__(
        self,
        make_env: Callable[..., Any] | str,
        num_worlds: int = 1,
        seed: int = 0,
        *,
        options: Mapping[str, Any] | None = None,
        processes: int | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Raises ValueError where groups, spaces or numbers do not fit."""
        if num_worlds < 1:
            raise ValueError(f"num_worlds is {num_worlds}: at least 1 is needed")
        make = partial(_made, make_env, dict(options or {}))
        env = make()
        kinds = _kinds(env, groups)
        self._title = str(getattr(env, "metadata", {}).get("name", "PettingZoo"))
        env.close()
        self.groups = {g: kind.group for g, kind in kinds.items()}
        self.num_worlds = num_worlds
        workers = min(os.cpu_count() or 1 if processes is None else processes, num_worlds)
        boards = _Boards(kinds, num_worlds, shared=workers > 0)
        self._boards = boards.arrays()
        ends = np.linspace(0, num_worlds, max(workers, 1) + 1).astype(int)
        self._shares = [range(a, b) for a, b in itertools.pairwise(ends.tolist())]
        worker = _Process if workers else _Here
        self._workers = [worker(make, kinds, boards, share) for share in self._shares]
        self._streams = [(seed, e) for e in range(num_worlds)]
        self._episode = np.zeros(num_worlds, np.int64)  # how many have begun
        self._done: list[list[Arrays]] = [[] for _ in range(num_worlds)]  # since they began
        self._return = np.zeros(num_worlds)  # so far, the mean over the agents

    def _all(self, what: str, worlds: np.ndarray) -> None:
        """Let all workers do something in some of the worlds, bool[E]."""
        asked = []
        for worker, share in zip(self._workers, self._shares, strict=True):
            if which := [e for e in share if worlds[e]]:
                worker.ask(what, which)
                asked.append(worker)
        for worker in asked:
            worker.answer()

    def _board(self, name: str) -> Arrays:
        return {g: self._boards[f"{name}.{g}"].copy() for g in self.groups}

    def reset(self, mask: np.ndarray | None = None) -> Arrays:
        begin = np.ones(self.num_worlds, bool) if mask is None else np.asarray(mask)
        begin = begin | (self._episode == 0)
        self._episode += begin
        self._begin(begin)
        return self._board("observation")

    def _begin(self, worlds: np.ndarray) -> None:
        """Begin the episodes whose numbers stand in `_episode`."""
        for e in np.flatnonzero(worlds):
            entropy = (*self._streams[e], int(self._episode[e]))
            self._boards["seed"][e] = np.random.SeedSequence(entropy).generate_state(1)[0] % 2**31
            self._done[e] = []
        self._return[worlds] = 0.0
        self._all("reset", worlds)

    def reseed(self, seeds: Sequence[int]) -> None:
        if len(seeds) != self.num_worlds:
            raise ValueError(f"{len(seeds)} seeds are given for {self.num_worlds} worlds")
        self._streams = [(int(seed), 0) for seed in seeds]
        self._episode[:] = 0

    def _play(self, worlds: np.ndarray) -> None:
        """Act in some of the worlds, as the board says."""
        self._all("step", worlds)
        reward = np.concatenate([*self._board("reward").values()], 1)
        self._return[worlds] += reward[worlds].mean(1, dtype=np.float64)

    def step(self, actions: Arrays) -> Step:
        for g, group in self.groups.items():
            shape = (self.num_worlds, len(group), *group.action_space.shape)
            given = np.asarray(actions[g], np.float32)
            if given.shape != shape:
                raise ValueError(f"actions[{g!r}] has shape {given.shape}; {shape} is needed")
            self._boards[f"action.{g}"][:] = given
        for e, done in enumerate(self._done):
            done.append({g: self._boards[f"action.{g}"][e].copy() for g in self.groups})
        acted = self._board("active")
        self._play(np.ones(self.num_worlds, bool))
        terminated, active = self._board("terminated"), self._board("active")
        over = np.logical_not(np.concatenate([*active.values()], 1).any(1))
        return Step(
            observation=self._board("observation"),
            reward=self._board("reward"),
            terminated=terminated,
            truncated=over & self._boards["cut"],
            active=active,
            done=over,
            metrics={"return": self._return.astype(np.float32)},
            acted=acted,
        )

    def state(self) -> np.ndarray:
        """What everybody observes."""
        seen = self._board("observation").values()
        return np.concatenate([x.reshape(self.num_worlds, -1) for x in seen], 1)

    def scene(self, world: int = 0) -> Scene:
        number = next(i for i, share in enumerate(self._shares) if world in share)
        self._workers[number].ask("picture", [world])
        picture = self._workers[number].answer()
        if picture is None:
            raise ValueError(
                "the environment draws no pictures: make it with options "
                "{'render_mode': 'rgb_array'}"
            )
        nothing = np.zeros(0, np.float32)
        return Scene(
            (1.0, 1.0),
            nothing.reshape(0, 2),
            nothing,
            np.zeros((0, 4), np.uint8),
            f"{self._title}   step {len(self._done[world])}",
            np.asarray(picture, np.uint8),
        )

    def state_dict(self) -> dict[str, Any]:
        elapsed = np.array([len(done) for done in self._done])
        state: dict[str, Any] = {
            "streams": np.array(self._streams, np.int64),
            "episode": self._episode.copy(),
            "elapsed": elapsed,
        }
        for g in self.groups:
            board = self._boards[f"action.{g}"]
            state[f"done.{g}"] = np.zeros((len(board), elapsed.max(), *board.shape[1:]), np.float32)
            for e, done in enumerate(self._done):
                for t, actions in enumerate(done):
                    state[f"done.{g}"][e, t] = actions[g]
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Plays the episodes again as far as they had come."""
        self._streams = [(int(a), int(b)) for a, b in state["streams"]]
        self._episode[:] = state["episode"]
        elapsed = np.asarray(state["elapsed"])
        self._begin(self._episode > 0)
        for t in range(elapsed.max()):
            going = elapsed > t
            for g in self.groups:
                self._boards[f"action.{g}"][:] = state[f"done.{g}"][:, t]
            for e in np.flatnonzero(going):
                self._done[e].append(
                    {g: self._boards[f"action.{g}"][e].copy() for g in self.groups}
                )
            self._play(going)

    def close(self) -> None:
        """End the processes, of which some may have failed. (They end with this one, too.)"""
        with suppress(WorldFailed):
            self._all("close", np.ones(self.num_worlds, bool))


# ------------------------------------------------------------------------------------- by its name


class PettingZooConfig(WorldConfig):
    """The section `world` of a config for an environment of PettingZoo."""

    metrics: ClassVar[tuple[str, ...]] = ("return",)
    outcomes: ClassVar[frozenset[str]] = PettingZooWorld.outcomes
    slow: ClassVar[bool] = True
    module: ClassVar[str] = ""  # that has its `parallel_env`

    options: dict[str, Any] = Field({}, description="with which the environment is made")
    wrappers: tuple[tuple[Any, ...], ...] = Field(
        (), description='SuperSuit\'s, innermost first, as [["frame_skip_v0", 4]]'
    )
    teams: dict[str, tuple[str, ...]] | None = Field(
        None, description="groups {name: agents} instead of those inferred from spaces and names"
    )
    processes: int | None = Field(
        None, ge=0, description="processes; null: as many as cores, 0: that which trains alone"
    )

    @model_validator(mode="after")
    def _can_be_made(self) -> Self:
        _ = self.groups
        return self

    @cached_property
    def groups(self) -> dict[str, Group]:
        try:
            env = self._make_env()
            kinds = _kinds(env, self.teams)
            env.close()
        except Exception as error:  # of somebody else's code
            raise ValueError(f"the environment cannot be made: {error}") from error
        return {g: kind.group for g, kind in kinds.items()}

    @property
    def _make_env(self) -> Callable[[], Any]:
        return partial(_wrapped, self.module, self.options, self.wrappers)

    def make_world(self, num_worlds: int, seed: int, staggered: bool = False) -> World:
        return PettingZooWorld(
            self._make_env, num_worlds, seed, processes=self.processes, groups=self.teams
        )


def _wrapped(module: str, options: dict[str, Any], wrappers: Sequence[Sequence[Any]]) -> Any:
    env = importlib.import_module(module).parallel_env(**options)
    for name, *arguments in wrappers:
        env = getattr(importlib.import_module("supersuit"), name)(env, *arguments)
    return env


def module_of(name: str) -> str:
    """The module of "sisl/multiwalker_v9", or, of another package, "mpe2/simple_tag_v3"."""
    dotted = name.replace("/", ".")
    return f"pettingzoo.{dotted}" if dotted.partition(".")[0] in FAMILIES else dotted


@cache
def environment(name: str) -> type[PettingZooConfig]:
    """The section `world` for the environment of that name. Raises ValueError where there is
    none."""
    module = module_of(name)
    if not all(part.isidentifier() for part in module.split(".")):
        raise ValueError(f"{PREFIX}{name} should be as {PREFIX}sisl/multiwalker_v9")
    try:
        importlib.import_module(module).parallel_env  # noqa: B018 (is it there?)
    except (ImportError, AttributeError) as error:
        hint = "" if find_spec("pettingzoo") else '; pip install "marl[pettingzoo]"'
        raise ValueError(f"{PREFIX}{name} cannot be imported: {error}{hint}") from error
    return type("PettingZooConfig", (PettingZooConfig,), {"module": module})
