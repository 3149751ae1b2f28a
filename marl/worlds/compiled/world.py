"""CompiledWorld: what compiled worlds share whose whole state is a dictionary of arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from marl.values import checked_seed
from marl.worlds.base import Arrays, World
from marl.worlds.compiled.random import stream_keys


def first_state(seed: int, num_worlds: int) -> Arrays:
    """The state that all of these worlds have, before their first reset. Raises ValueError if there
    are no worlds."""
    if num_worlds < 1:
        raise ValueError(f"num_worlds is {num_worlds}: at least 1 is needed")
    return {
        "keys": np.zeros(num_worlds, np.uint64),  # the streams
        "draws": np.zeros(num_worlds, np.uint64),  # how many numbers they have given; first 0
        "next_keys": stream_keys(checked_seed(seed), num_worlds),  # from the next reset on
        "reseeded": np.ones(num_worlds, bool),  # whether there are such
        "steps": np.zeros(num_worlds, np.int64),  # of the episode
    }


class CompiledWorld(World):
    """E worlds, each with a random stream of its own."""

    _state: Arrays  # all that changes, changed in place; `first_state` and more
    _staggered: bool = False  # are first episodes cut short by different amounts?

    def starting(self, mask: np.ndarray | None, length: int) -> np.ndarray:
        """bool[E]: the worlds in which an episode of `length` steps begins at a reset: those of
        `mask` (bool[E]; None: all), and those that never had one. Their steps begin, and new
        streams where there are any."""
        s = self._state
        first = s["draws"] == 0
        starting = first | (True if mask is None else np.asarray(mask, bool))
        renewed = starting & s["reseeded"]
        s["keys"][renewed] = s["next_keys"][renewed]
        s["draws"][renewed] = 0
        s["reseeded"][renewed] = False
        s["steps"][starting] = 0
        if self._staggered and first.all():
            s["steps"][:] = np.arange(self.num_worlds) * length // self.num_worlds
        return starting

    def reseed(self, seeds: Sequence[int]) -> None:
        if len(seeds) != self.num_worlds:
            raise ValueError(f"{len(seeds)} seeds are given for {self.num_worlds} worlds")
        self._state["next_keys"][:] = [stream_keys(checked_seed(seed), 1)[0] for seed in seeds]
        self._state["reseeded"][:] = True

    def state_dict(self) -> dict[str, Any]:
        return {name: values.copy() for name, values in self._state.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, values in self._state.items():
            values[...] = state[name]
