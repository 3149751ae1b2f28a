"""CompiledWorld: what compiled worlds share whose whole state is a dictionary of arrays."""

from collections.abc import Sequence
from typing import Any

from marl.values import checked_seed
from marl.worlds.base import Arrays, World
from marl.worlds.compiled.random import stream_keys


class CompiledWorld(World):
    """E worlds, each with a random stream of its own."""

    _state: Arrays  # all that changes, changed in place; among it the streams: "keys", u64[E], and
    # "draws", u64[E], how many numbers have been drawn: 0 before the first reset

    def reseed(self, seeds: Sequence[int]) -> None:
        if len(seeds) != self.num_worlds:
            raise ValueError(f"{len(seeds)} seeds are given for {self.num_worlds} worlds")
        self._state["keys"][:] = [stream_keys(checked_seed(seed), 1)[0] for seed in seeds]
        self._state["draws"][:] = 0

    def state_dict(self) -> dict[str, Any]:
        return {name: values.copy() for name, values in self._state.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, values in self._state.items():
            values[...] = state[name]
