"""Memory: everything that a run learns from."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from marl.learning.record import Batch, Columns, Sampling, Transition
from marl.learning.replay import Replay, needed_bytes
from marl.learning.rollouts import Rollout
from marl.memory import shortage
from marl.worlds.spaces import Group


class Learns(Protocol):
    """The part of an agent that says what is stored and how batches are drawn."""

    def columns(self, groups: dict[str, Group]) -> Columns: ...
    def sampling(self, groups: dict[str, Group]) -> dict[str, Sampling]: ...


class Sizes(Protocol):
    """The part of `TrainingConfig` that says how much is stored."""

    @property
    def replay_size(self) -> int: ...
    @property
    def update_every(self) -> int: ...
    @property
    def num_worlds(self) -> int: ...


class Memory:
    """A replay or a rollout for each way of drawing batches. An agent that learns from rollouts has
    one of `update_every` steps."""

    def __init__(
        self, groups: dict[str, Group], agent: Learns, sizes: Sizes, generator: torch.Generator
    ) -> None:
        """Raises ValueError, which names the setting, if there is not enough memory, or if the
        worlds do not fill a rollout."""
        by_sampling: dict[Sampling, Columns] = {}
        columns = agent.columns(groups)
        for g, sampling in agent.sampling(groups).items():
            by_sampling.setdefault(sampling, {})[g] = columns[g]
        self._replays: dict[Sampling, Replay] = {}
        for sampling, own in by_sampling.items():
            on_policy = sampling.draw == "rollout"
            kind, key = (Rollout, "update_every") if on_policy else (Replay, "replay_size")
            size = getattr(sizes, key)
            if on_policy:  # what comes before a rollout is not there: it stores all frames
                own = {g: {k: replace(x, frames=1) for k, x in c.items()} for g, c in own.items()}
            if on_policy and size % sizes.num_worlds:
                raise ValueError(
                    f"training.update_every is {size}, but should be a multiple of "
                    f"training.num_worlds, {sizes.num_worlds}: the agent learns from rollouts"
                )
            if lacking := shortage(needed_bytes(groups, size, own)):
                raise ValueError(f"training.{key} is {size}, which {lacking}")
            try:
                self._replays[sampling] = kind(groups, size, generator, own)
            except (MemoryError, RuntimeError) as error:
                raise ValueError(
                    f"training.{key} is {size}, for which there is not enough memory"
                ) from error

    def add(self, transition: Transition) -> None:
        """Store a step of all worlds."""
        for replay in self._replays.values():
            replay.add(transition)

    def sample(self, batch_size: int) -> dict[str, Batch]:
        """A batch for each group: drawn from replay, or a complete rollout, which is then
        forgotten. Groups whose rollout is not complete have none."""
        batches: dict[str, Batch] = {}
        for (draw, window), replay in self._replays.items():
            if isinstance(replay, Rollout):
                batches |= replay.take()
            else:
                batches |= replay.sample(batch_size, draw, window)
        return batches

    def state_dict(self) -> dict[str, Tensor]:
        """The state from which it continues, as a flat dictionary of tensors."""
        return {
            f"{prefix}{k}": x
            for prefix, replay in self._named().items()
            for k, x in replay.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what `state_dict` returned. Raises ValueError or KeyError if it does not
        fit."""
        for prefix, replay in self._named().items():
            own = {k.removeprefix(prefix): x for k, x in state.items() if k.startswith(prefix)}
            replay.load_state_dict(own)

    def _named(self) -> dict[str, Replay]:
        """{prefix of the names in a state: replay}."""
        if len(self._replays) == 1:
            return {"": next(iter(self._replays.values()))}
        return {f"{draw}{window}/": x for (draw, window), x in self._replays.items()}
