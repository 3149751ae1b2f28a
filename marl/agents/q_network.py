"""What Q-learners are made of: networks of values, batches in one shape, the values of a group.

Shapes: K stacked networks, N agents of a group, T steps in a row (1: single steps), B rows, C joint
choices.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from marl.agents.core.checks import check_augment, check_network
from marl.agents.core.learner import Learner, frozen
from marl.agents.core.sequences import sequence_network
from marl.learning.augmentation import SYMMETRIES, Change, changes_of
from marl.learning.record import Batch
from marl.nn.heads import FORBIDDEN, JointChoices
from marl.worlds.spaces import Group


def best(values: Tensor, legal: Tensor | None) -> Tensor:
    """i64[...]: the choice with the largest value, [..., C], of those that are `legal`."""
    return (values if legal is None else values.masked_fill(~legal, FORBIDDEN)).argmax(-1)


class Steps(NamedTuple):
    """The batch of a group. The rows are B steps (T = 1), B windows or B worlds of a rollout."""

    observation: Tensor  # [N, T, B, O]
    next_observation: Tensor  # [N, T, B, O]
    choice: Tensor  # i64[N, T, B]
    reward: Tensor  # [N, T, B]
    terminated: Tensor  # [N, T, B]
    present: Tensor  # [N, T, B]: 0.0 for agents that had left
    inside: Tensor  # [1, T, B]: 0.0 for padding after the end of a window's episode
    continues: Tensor  # [1, T, B]: 1.0 if the next row is the next step
    next_legal: Tensor | None = None  # bool[N, T, B, C]
    hidden: Tensor | None = None  # [N, 1, B, H]: the hidden states before the first step

    @property
    def stays(self) -> Tensor:
        """[N, T, B]: 1.0 for agents that are still there after the step."""
        return self.present * (1.0 - self.terminated)

    @property
    def keeps(self) -> Tensor:
        """[1, T, B]: 0.0 at the first step of an episode, except in the first row, whose hidden
        states are known."""
        return torch.cat([torch.ones_like(self.continues[:, :1]), self.continues[:, :-1]], 1)

    def flat(self) -> "Steps":
        """The T B steps as rows of their own."""
        return self._each(lambda x: x.flatten(1, 2)[:, None])

    def rows(self, index: Tensor) -> "Steps":
        """These of the B rows."""
        return self._each(lambda x: x[:, :, index])

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Steps":
        return self._replace(**{k: change(x) for k, x in self._asdict().items() if x is not None})


def in_order(x: Tensor, batch: Batch) -> Tensor:
    """A column of a batch, in any of its shapes -> [N, T, B, ...]."""
    if batch.continues is not None:  # a rollout, [T, E, N, ...]
        return x.movedim(2, 0)
    if batch.inside is not None:  # windows, [B, T, N, ...]
        return x.transpose(0, 2)
    return x.transpose(0, 1)[:, None]  # steps, [B, N, ...]


def inside_and_continues(batch: Batch) -> tuple[Tensor, Tensor]:
    """`Steps.inside` and `Steps.continues` of a batch."""
    if batch.continues is not None:
        return torch.ones_like(batch.continues)[None], batch.continues[None]
    if batch.inside is not None:
        inside = batch.inside.T[None]
        return inside, torch.cat([inside[:, 1:], torch.zeros_like(inside[:, :1])], 1)
    ones = torch.ones(1, 1, len(batch.reward), dtype=batch.reward.dtype)
    return ones, torch.zeros_like(ones)


def together(x: Tensor, stack: int) -> Tensor:
    """[N, T, B, size] -> [K, T, rows, size], as stacked networks take it."""
    return x.unflatten(0, (stack, -1)).transpose(1, 2).flatten(2, 3)


def apart(x: Tensor, agents: int) -> Tensor:
    """[K, T, rows, size] -> [N, T, B, size]: undoes `together`."""
    stack = len(x)
    return x.unflatten(2, (agents // stack, -1)).transpose(1, 2).flatten(0, 1)


class QLearner(Learner):
    """The networks of one group; its team has the optimiser."""

    optimisers = ()

    def __init__(self, g: str, groups: Mapping[str, Group], config: Any) -> None:
        group = groups[g]
        try:
            self.choices = JointChoices(group)
        except ValueError as error:
            raise ValueError(f"{config.name!r} cannot play the group {g!r}: {error}") from error
        check_network(config, groups, memory=config.memory)
        check_augment(config, group, config.memory)
        self.config = config
        self.stack = len(group) if config.networks == "each" else 1
        inputs, parts = group.observation_size, group.observation_parts
        sizes = (inputs, len(self.choices))
        self.network = self.actor = sequence_network(
            self.stack, parts, *sizes, config, config.layer_norm
        )
        self.target = frozen(self.network) if config.replay else self.network
        self.greedy = frozen(self.network) if config.average else self.network
        more = {"target": config.replay, "greedy": config.average > 0}
        self.stored = ("network", *[name for name, is_copy in more.items() if is_copy])
        self.published = nn.ModuleDict({"network": self.greedy})
        if config.normalise:
            self.normalise(group)
        self._change: Change | None = None
        if config.augment:
            self._change, of_actions = changes_of(group)
            every = self.choices.table[:, None].expand(-1, SYMMETRIES, -1)  # [C, 8, A]
            turned = of_actions(every.transpose(0, 1), None)
            self._turned = self.choices.number(turned)  # i64[8, C]

    def act(
        self, seen: Tensor, hidden: Tensor | None, explore: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Values [N, E, C] for observations [N, E, O], and the hidden states after them, [N, E, H]
        (None without memory)."""
        network, shape = self.network if explore else self.greedy, seen.shape[:2]
        rows = self.stacked(seen)[:, None]
        values, after = network(rows, None if hidden is None else self.stacked(hidden)[:, None])
        return values.view(*shape, -1), None if after is None else after.view(*shape, -1)

    def augment(self, steps: Steps, generator: torch.Generator) -> Steps:
        """With `augment`, the observations and choices of row b under its symmetry; pictures
        shifted."""
        if self._change is None:
            return steps
        rows = steps.observation.movedim(2, 0)
        seen = self._change(rows.flatten(1, 2), generator).view_as(rows).movedim(0, 2)
        element = torch.arange(len(rows)) % SYMMETRIES
        return steps._replace(observation=seen, choice=self._turned[element, steps.choice])

    def values(self, network: nn.Module, steps: Steps) -> Tensor:
        """The values of all choices in all steps, [N, T, B, C]."""
        return apart(self._sequence(network, steps)[0], len(steps.choice))

    def _sequence(self, network: nn.Module, steps: Steps) -> tuple[Tensor, Tensor | None]:
        hidden, keeps = steps.hidden, None
        if hidden is not None:
            hidden = together(hidden, self.stack)
            keeps = together(steps.keeps.expand_as(steps.reward)[..., None], self.stack)
        return network(together(steps.observation, self.stack), hidden, keeps)

    def next_values(self, network: nn.Module, steps: Steps) -> Tensor:
        """The values of all choices after every step, [N, T, B, C]. A memory has then seen the
        episode so far through the same network."""
        states = None if steps.hidden is None else self._sequence(network, steps)[1]
        x = together(steps.next_observation, self.stack)
        # Each step is a row of its own.
        hidden = None if states is None else states.flatten(1, 2)[:, None]
        values = network(x.flatten(1, 2)[:, None], hidden)[0][:, 0].unflatten(1, x.shape[1:3])
        return apart(values, len(steps.choice))

    def next_value(self, steps: Steps) -> Tensor:
        """The target network's value of the best choice after every step, [N, T, B]."""
        judged = self.next_values(self.target, steps)
        double = self.config.double and self.target is not self.network
        chosen = self.next_values(self.network, steps) if double else judged
        return judged.gather(-1, best(chosen, steps.next_legal)[..., None])[..., 0]
