"""ATOC with attentional communication (Jiang & Lu 2018). All agents of a group share one actor, one
critic, one attention unit and one channel.

    h_i = think(o_i)                                            actor, part one
    every `period` steps: i initiates where attention(h_i) > 1/2, and picks collaborators
    h~  = channel(thoughts of a group)                          one group after the other
    a_i = tanh(decide(h_i, h~_i))                               part two; h~_i = 0 without a group

    y   = r + gamma (1 - terminated) Q'(o', mu'(o' | C))        C: current groups, from replay
    Q         <- minimise mean (Q(o, a) - y)^2
    mu        <- maximise mean Q(o, mu(o | C))                  think, channel and decide together
    attention <- minimise cross entropy to (dQ_i - min dQ) / (max dQ - min dQ), where
                 dQ_i = mean over the group of i of Q(o, mu(o | C)) - Q(o, mu(o | no groups))
    Q', mu'   <- (1 - tau) Q', mu' + tau Q, mu

Shapes: E worlds (or B stored steps) of N agents are R = E N rows, [1, R, size]. A group is a row
[1 + collaborators] of agents' numbers: the initiator, its collaborators (the nearest first), then
-1.
"""

from collections.abc import Mapping
from typing import Literal, cast

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from marl.agents.core.actor_critic import ActorCritic, ActorCriticConfig
from marl.agents.core.base import Needs, View
from marl.agents.core.checks import check_pictures
from marl.agents.core.learner import LearningAgent, Logged, adam, below, of_all
from marl.learning.exploration import ExplorationConfig
from marl.learning.record import Batch, Column, Columns, Draw, columns_of
from marl.nn.layers import MLP, Hidden, StackedLSTM
from marl.worlds.base import Arrays, Neighbours
from marl.worlds.compiled.cache import kernel
from marl.worlds.spaces import Group


class ATOCConfig(ActorCriticConfig):
    """Settings of ATOC with communication; the attention unit learns at the actor's rate."""

    name: Literal["atoc_comm"] = "atoc_comm"
    communication: Literal["attention", "off", "forced"] = Field(
        "attention", description="initiators: agents that the attention unit picks, none, or all"
    )
    hidden: tuple[PositiveInt, ...] = Field(
        (128, 64), min_length=1, description="units of each layer before the thought"
    )
    thought: int = Field(32, ge=2, multiple_of=2, description="numbers in a thought")
    period: int = Field(15, ge=1, description="steps between two choices of groups")
    neighbours: int = Field(
        3, ge=1, le=64, description="nearest agents that an initiator can choose from"
    )
    collaborators: int = Field(3, ge=1, description="most agents that an initiator chooses")
    epsilon: float = Field(
        0.1, ge=0, le=1, description="exploration: chance that a coin decides if an agent initiates"
    )


# ------------------------------------------------------------------------------------------ groups


@kernel
def choose_groups(initiators, neighbours, collaborators):
    """Groups i64[E, N, 1 + collaborators] from initiators bool[E, N] and neighbours
    i64[E, N, count]. A row is all -1 if the agent has no group of its own.

    Initiators choose in the order of their numbers: first agents that no initiator has chosen, then
    agents that an earlier one has chosen, then other initiators; of each kind the nearest first. An
    agent without neighbours has no group.
    """
    worlds, n, count = neighbours.shape
    groups = np.full((worlds, n, 1 + collaborators), -1)
    for e in range(worlds):
        chosen = np.zeros(n, np.bool_)
        for i in range(n):
            if not initiators[e, i] or neighbours[e, i, 0] < 0:
                continue
            picked = np.zeros(count, np.bool_)
            for kind in range(3):
                for k in range(count):
                    j = neighbours[e, i, k]
                    if j >= 0 and not picked[k] and picked.sum() < collaborators:
                        picked[k] = kind == (2 if initiators[e, j] else int(chosen[j]))
            groups[e, i, 0] = i
            at = 1
            for k in range(count):
                if picked[k]:
                    groups[e, i, at] = neighbours[e, i, k]
                    chosen[neighbours[e, i, k]] = True
                    at += 1
    return groups


@kernel
def _round_numbers(groups):
    """i64[K, R]: the round of each group; -1 for empty rows. A group's round is the first one after
    those of all earlier groups that share a member with it."""
    numbers = np.full(groups.shape[:2], -1)
    for k in range(groups.shape[0]):
        next_free = np.zeros(groups.shape[1], np.int64)
        for i in range(groups.shape[1]):
            if groups[k, i, 0] >= 0:
                number = 0
                for j in groups[k, i]:
                    if j >= 0:
                        number = max(number, next_free[j])
                for j in groups[k, i]:
                    if j >= 0:
                        next_free[j] = number + 1
                numbers[k, i] = number
    return numbers


def rounds_of(groups: np.ndarray) -> list[Tensor]:
    """Groups i64[K, R, size], heard in the order of their rows -> rounds i64[K, G, size] of groups
    that share no member; R fills empty places.

    Hearing round after round equals hearing group after group: of two groups that share a member,
    the earlier group is in an earlier round.
    """
    numbers = _round_numbers(groups)
    stack, rows, size = groups.shape
    rounds = []
    for number in range(numbers.max() + 1):
        k, i = np.nonzero(numbers == number)
        place = np.arange(len(k)) - np.searchsorted(k, k)  # among the groups of the same k
        members = np.full((stack, place.max() + 1, size), -1)
        members[k, place] = groups[k, i]
        rounds.append(torch.from_numpy(np.where(members < 0, rows, members)))
    return rounds


def _side_by_side(groups: np.ndarray) -> np.ndarray:
    """Groups [E, N, size] of E worlds -> groups [1, E N, size] of one world."""
    worlds, n, size = groups.shape
    groups, first = groups.astype(np.int64), n * np.arange(worlds)[:, None, None]
    return np.where(groups < 0, -1, groups + first).reshape(1, -1, size)


# ---------------------------------------------------------------------------------------- networks


class Actor(nn.Module):
    """Both parts of the actor and the channel between them."""

    def __init__(self, stack: int, inputs: int, actions: int, config: ATOCConfig) -> None:
        super().__init__()
        thought, norm = config.thought, "actor" in config.layer_norm
        self.first = Hidden(stack, (), inputs, 0, (*config.hidden, thought), norm)
        self.channel = StackedLSTM(stack, thought, thought)
        self.second = MLP(stack, (), 2 * thought, 0, actions, (thought,), 0, norm)

    def think(self, observation: Tensor) -> Tensor:
        """[K, R, O] -> [K, R, H]."""
        return self.first(observation)

    def communicate(self, thought: Tensor, rounds: list[Tensor]) -> Tensor:
        """Integrated thoughts [K, R, H]; zero for agents in no group. Where an earlier group has
        integrated a member's thought, the group reads the result."""
        stack, rows, size = thought.shape
        thoughts = torch.cat([thought, thought.new_zeros(stack, 1, size)], 1)  # padding
        heard = thought.new_zeros(stack, rows + 1, 1)
        for members in rounds:
            index = members.flatten(1)[..., None]
            everywhere = index.expand(-1, -1, size)
            said = thoughts.gather(1, everywhere).view(*members.shape, size)
            answer = self.channel(said, (members < rows).float()[..., None])
            thoughts = thoughts.scatter(1, everywhere, answer.flatten(1, 2))
            heard = heard.scatter(1, index, 1.0)
        return (thoughts * heard)[:, :rows]

    def decide(self, thought: Tensor, integrated: Tensor) -> Tensor:
        """Actions [K, R, A] before tanh."""
        return self.second(torch.cat([thought, integrated], -1))

    def forward(self, observation: Tensor, rounds: list[Tensor]) -> Tensor:
        thought = self.think(observation)
        return self.decide(thought, self.communicate(thought, rounds))


# ------------------------------------------------------------------------------------------- agent


class ATOC(LearningAgent["_Learner"]):
    """A learner for each group of agents, and the communication groups of every world."""

    draw: Draw = "steps"

    def __init__(
        self,
        groups: dict[str, Group],
        config: ATOCConfig,
        exploration: ExplorationConfig | None = None,
        seed: int = 0,
    ) -> None:
        check_pictures(config, groups, joint=True)
        self._communicates = config.communication != "off"
        if self._communicates:
            self.needs = Needs(neighbours=(config.neighbours, 0))
        self._clock = np.zeros(0, np.int64)  # [E] steps since the episode began
        self._in_force: Arrays = {}  # i64[E, N, 1 + collaborators], current; not changed in place
        self._near: dict[str, Neighbours] | None = None
        super().__init__(groups, config, exploration, seed, lambda g: _Learner(groups[g], config))

    # ------------------------------------------------------------------------------------- acting

    def columns(self, groups: dict[str, Group]) -> Columns:
        """With the current communication groups."""
        size = 1 + self.config.collaborators
        more = {"in_force": Column((size,), "int32")} if self._communicates else {}
        return columns_of(groups, **more)

    def perceive(self, view: View) -> Arrays:
        """The observation. Without neighbours in the view, no groups form when a new choice is
        due."""
        self._near = view.neighbours
        return view.observation

    def act(self, perceived: Arrays, explore: bool = False) -> Arrays:
        sizes = {g: rows.shape[:2] for g, rows in perceived.items()}
        if sizes != {g: groups.shape[:2] for g, groups in self._in_force.items()}:
            self._clock = np.zeros(next(iter(sizes.values()))[0], np.int64)
            self._in_force = {g: self._no_groups(shape) for g, shape in sizes.items()}
        due = self._clock % self.config.period == 0
        actions = {}
        with torch.no_grad():
            for g, learner in self.learners.items():
                actor = cast(Actor, learner.actor if explore else learner.greedy)
                rows = torch.as_tensor(perceived[g], dtype=torch.float32)
                rows = learner.normalised(rows, learn=explore)
                thought = actor.think(rows.flatten(0, 1)[None])
                if due.any():
                    near = None if self._near is None else self._near[g].agents
                    groups = self._decided(learner, thought, sizes[g], near, explore)
                    new = np.where(due[:, None, None], groups, self._in_force[g])
                    self._in_force = {**self._in_force, g: new}
                groups = self._in_force[g]
                if explore and g in self.noise:
                    action = self.noise[g].act(rows.transpose(0, 1), rounds_of(groups))
                    action = action.transpose(0, 1)
                else:
                    rounds = rounds_of(_side_by_side(groups))
                    integrated = actor.communicate(thought, rounds)
                    action = actor.decide(thought, integrated).tanh().view(*sizes[g], -1)
                actions[g] = self.exploration.disturb(g, action) if explore else action
        self._clock = self._clock + 1
        return {g: action.numpy() for g, action in actions.items()}

    def _no_groups(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.full((*shape, 1 + self.config.collaborators), -1)

    def _decided(
        self,
        learner: "_Learner",
        thought: Tensor,
        shape: tuple[int, ...],
        neighbours: np.ndarray | None,
        explore: bool,
    ) -> np.ndarray:
        """New groups for all worlds; the caller takes those of the worlds that are due."""
        c = self.config
        if neighbours is None or c.communication == "off":
            return self._no_groups(shape)
        initiators = torch.ones(shape, dtype=torch.bool)
        if c.communication == "attention":
            initiators = learner.attention(thought).view(shape) > 0  # a probability above 1/2
            if explore and c.epsilon:
                # The attention unit learns from existing groups only, so it must not end them all.
                chance = torch.rand(2, *shape, generator=self.generator)
                initiators = torch.where(chance[0] < c.epsilon, chance[1] < 0.5, initiators)
        return choose_groups(initiators.numpy(), neighbours, c.collaborators)

    def reset(self, mask: np.ndarray | None = None) -> None:
        self.exploration.reset(mask)
        for noise in self.noise.values():
            noise.reset(mask)
        if mask is None:
            self._in_force = {}
        elif self._in_force:
            self._clock = np.where(mask, 0, self._clock)
            self._in_force = {
                g: np.where(mask[:, None, None], -1, groups) for g, groups in self._in_force.items()
            }

    def recorded(self) -> Mapping[str, Arrays]:
        """The current groups, i64[E, N, 1 + collaborators]."""
        return {"in_force": self._in_force} if self._communicates else {}

    # ------------------------------------------------------------------------------------ learning

    def update(self, batch: dict[str, Batch]) -> dict[str, Tensor]:
        results: dict[str, Tensor] = {}
        for g, learner in self.learners.items():
            with self.config.autocast():
                result, *seen = learner.update(batch[g], self.generator)
            results |= self.logged(g, of_all(result), *seen)
        return results

    # --------------------------------------------------------------------------------- checkpoints

    def state_dict(self) -> dict[str, Tensor]:
        state = super().state_dict() | {"clock": torch.from_numpy(self._clock.copy())}
        for g, groups in self._in_force.items():
            state[f"in_force.{g}"] = torch.from_numpy(groups.copy())
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        super().load_state_dict(state)
        self._clock = state["clock"].numpy().copy()
        in_force = below("in_force.", state)
        self._in_force = {g: groups.numpy().copy() for g, groups in in_force.items()}


class _Learner(ActorCritic):
    """The learner of one group: one actor, critic and attention unit."""

    def __init__(self, group: Group, config: ATOCConfig) -> None:
        inputs, (actions,) = group.observation_size, group.action_space.shape
        thought = config.thought
        layers = (*config.hidden, thought, thought)  # as many as the actor has

        def critic() -> nn.Module:
            return MLP(1, (), inputs, actions, 1, layers, 0, "critic" in config.layer_norm)

        super().__init__(config, group, 1, Actor(1, inputs, actions, config), critic)
        self.communication = config.communication
        self.attention = MLP(1, (), thought, 0, 1, (thought,), 0)
        self.attention_optimiser = adam(self.attention, config.actor_lr)
        self.stored += ("attention",)
        self.optimisers += ("attention_optimiser",)
        self.published.add_module("attention", self.attention)

    def update(
        self, batch: Batch, generator: torch.Generator
    ) -> tuple[Logged, Tensor, list[Tensor]]:
        """One update from B steps of N agents. Returns values to log and the actor's input:
        observations and rounds."""
        actor = cast(Actor, self.actor)
        # Prepare
        o, a, o2 = self.augment(batch.observation, batch.action, batch.next_observation, generator)
        o, o2 = self.normalised(o), self.normalised(o2)
        o, a, o2 = (x.flatten(0, 1)[None] for x in (o, a, o2))  # [1, B N, size]
        reward, terminated = (x.reshape(1, -1, 1) for x in (batch.reward, batch.terminated))
        groups = _side_by_side(batch.added["in_force"].numpy()) if batch.added else None
        rounds = [] if groups is None else rounds_of(groups)
        self.updates += 1

        # Target
        with torch.no_grad():
            a2 = self.smoothed(self.target_actor(o2, rounds).to(a.dtype).tanh(), generator)
        y = self.target(reward, terminated, o2, a2)
        # Critics
        loss, result = self.critic_loss(o, a, y)
        self.descend(self.critics, self.critic_optimiser, loss)
        if self.actors_turn:
            # Actor and channel: all agents act by the actor
            thought = actor.think(o)
            output = actor.decide(thought, actor.communicate(thought, rounds))
            loss, values, logged = self.actor_loss(output, o, a)
            with torch.no_grad():
                silent = actor.decide(thought, torch.zeros_like(thought)).tanh()
            self.descend(self.actor, self.actor_optimiser, loss)
            result |= logged
            # Attention unit: one step towards the group's gain from communication
            if groups is not None:
                with torch.no_grad():
                    gain = (values - self.critics[0](o, silent))[0, :, 0]
                self.attend(thought.detach(), gain, torch.from_numpy(groups[0]), result)
        # Target networks
        self.move_targets()
        return result, o, rounds

    def attend(self, thought: Tensor, gain: Tensor, groups: Tensor, result: Logged) -> None:
        """Train the attention unit with the gains of R agents from communication, [R]."""
        initiators = groups[:, 0] >= 0
        result["initiators"] = initiators.float().mean()
        if not initiators.any():
            return
        members = groups[initiators]
        there = members >= 0
        gains = (gain[members.clamp(min=0)] * there).sum(1) / there.sum(1)
        result["delta_q"] = gains.mean()
        low, high = gains.aminmax()
        if self.communication == "attention" and high > low:
            aim = (gains - low) / (high - low)
            logit = self.attention(thought[:, initiators])[0, :, 0]
            loss = F.binary_cross_entropy_with_logits(logit, aim)
            self.descend(self.attention, self.attention_optimiser, loss)
            result["attention_loss"] = loss.detach()
