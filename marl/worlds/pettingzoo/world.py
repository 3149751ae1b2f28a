"""Any PettingZoo parallel environment as a world of marl: E copies, stepped in worker processes.

>>> world = PettingZooWorld("pettingzoo.sisl.multiwalker_v9:parallel_env", num_worlds=8, seed=0)

A group is the agents with the same spaces whose names differ only in the number at the end; it is
named by the part before the number. Pictures (bytes of two or three axes) stay pictures, the last
`frames` of them; observations of any other space are flattened to numbers. A bounded Box of actions
is scaled to -1 to 1; Discrete and MultiDiscrete are choices. Agents that have left observe zeros,
get reward zero, are not `active`, and are `terminated`, unless their time ran out.
An agent has left if it is terminated or truncated, or is no longer among the environment's agents.

Every episode has its own seed, so it can be replayed: the stored state of a world is its episode's
number and the actions since its start.
"""

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from marl.errors import WorldFailed
from marl.worlds.base import Arrays, Step, World, checked_actions
from marl.worlds.pettingzoo.contract import Examined, examine
from marl.worlds.pettingzoo.workers import Boards, Here, Process, make_environment
from marl.worlds.scene import Scene
from marl.worlds.spaces import Group

# ------------------------------------------------------------------------------------------- world


class PettingZooWorld(World):
    """E copies of an environment; see the top of this file.

    Parameters: make_env, called with the `options`: a function, or "module:NAME" of one, as it must
    be where other processes are to call it and the module has it under another name (such as
    MPE2's); num_worlds E; seed; processes, over which the copies are distributed (None: one a core;
    0: this process alone; results do not depend on it); groups {name: agents}, instead of the
    inferred ones; frames, how many pictures are observed at once; examined, what `examine` found,
    if the environment was tried before; described, the same groups with the parts of their spaces;
    measures, the names of metrics that the environment itself keeps in its dictionary `measures`.
    With `render_mode="rgb_array"` among its options it can be drawn.

    Without measures, its metric is the return of an episode: rewards summed over the steps so far,
    averaged over the agents.
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
        frames: int = 1,
        examined: Examined | None = None,
        described: dict[str, Group] | None = None,
        measures: Sequence[str] = (),
    ) -> None:
        """Raises ValueError if groups, spaces or numbers do not fit, or the environment does not
        keep what PettingZoo promises."""
        if num_worlds < 1:
            raise ValueError(f"num_worlds is {num_worlds}: at least 1 is needed")
        make = partial(make_environment, make_env, dict(options or {}))
        self._title, kinds = examined or examine(make, groups, frames)
        self.groups = described or {g: kind.group for g, kind in kinds.items()}
        self._measures = tuple(measures)
        self.outcomes = frozenset(measures or {"return"})
        self.num_worlds = num_worlds
        workers = min(os.cpu_count() or 1 if processes is None else processes, num_worlds)
        boards = Boards(kinds, num_worlds, workers > 0, self._measures)
        self._boards = boards.arrays()
        ends = np.linspace(0, num_worlds, max(workers, 1) + 1).astype(int)
        self._shares = [range(a, b) for a, b in itertools.pairwise(ends.tolist())]
        worker = Process if workers else Here
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
        """Begin the episodes whose numbers are in `_episode`."""
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
        """Act in some of the worlds, with the actions on the board."""
        self._all("step", worlds)
        reward = np.concatenate([*self._board("reward").values()], 1)
        self._return[worlds] += reward[worlds].mean(1, dtype=np.float64)

    def step(self, actions: Arrays) -> Step:
        for g in self.groups:
            board = self._boards[f"action.{g}"]
            board[:] = checked_actions(actions, g, self.groups, board.shape)
        for e, done in enumerate(self._done):
            done.append({g: self._boards[f"action.{g}"][e].copy() for g in self.groups})
        present = self._board("active")
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
            metrics=self._metrics(),
            present=present,
        )

    def _metrics(self) -> Arrays:
        if not self._measures:
            return {"return": self._return.astype(np.float32)}
        return {name: self._boards[f"measure.{name}"].copy() for name in self._measures}

    def state(self) -> np.ndarray:
        """The observations of all agents."""
        seen = self._board("observation").values()
        rows = [x.reshape(self.num_worlds, -1) for x in seen]
        return np.concatenate(rows, 1, dtype=np.float32)

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
        """Replay the episodes up to the stored step."""
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
        """End the processes, some of which may have failed. (They end with this one, too.)"""
        with suppress(WorldFailed):
            self._all("close", np.ones(self.num_worlds, bool))
