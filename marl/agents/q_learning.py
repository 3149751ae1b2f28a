"""Q-learning (Watkins 1989; with networks: Mnih et al. 2015) for many agents, of discrete actions.

    y      = r + gamma (1 - terminated) Q'_tot(s', a_1*, a_2*, ...)     a_i* = argmax_a Q_i(o_i', a)
    Q_tot <- minimise mean (Q_tot(s, a_1, a_2, ...) - y)^2
    Q'    <- towards Q, softly at each update or as a copy every so many

The mixer makes a member of the family (`FAMILY`): how the value of a team, Q_tot, comes from the
values Q_i(o_i, a_i) of its agents. Without one each agent is a team of its own, and learns from its
own reward. The mean over the agents is the team's reward; s is what all of the team observe.

`replay` false is the modern form (Gallici et al. 2024, parallelised Q-networks): no replay and no
target network; lambda returns over the last steps of many worlds, then some epochs of minibatches.

Shapes: N agents of a group, T steps in a row, B rows, [N, T, B, ...]; see `q_network.Steps`.
"""

from collections.abc import Iterator, Mapping
from typing import Literal, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from torch import Tensor, nn

from marl.agents.core.checks import check_idle, check_pictures
from marl.agents.core.critic_inputs import one_table
from marl.agents.core.learner import (
    Learner,
    LearningAgent,
    Logged,
    adam,
    average,
    below,
    follow,
    frozen,
    mean_of_present,
    of_all,
    rows_of,
)
from marl.agents.q_network import QLearner, Steps, best, in_order, inside_and_continues
from marl.learning.exploration import ExplorationConfig
from marl.learning.record import NOTHING, Batch, Column, Columns, Draw, columns_of
from marl.learning.returns import lambda_returns
from marl.nn.mixers import MIXERS
from marl.worlds.base import Arrays
from marl.worlds.spaces import Group

FAMILY = {
    "iql": None,  # independent Q-learning (Tan 1993)
    "vdn": "sum",  # Sunehag et al. 2017
    "qmix": "monotonic",  # Rashid et al. 2018
}
"""The mixer of each member, one of `MIXERS`."""


class QConfig(BaseModel):
    """Settings of the Q-learners."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["iql", "vdn", "qmix"] = "iql"
    networks: Literal["one", "each"] = Field(
        "one", description="one network for all agents of a group, or one for each"
    )
    network: Literal["mlp", "set"] = Field("mlp", description="kind of network")
    hidden: tuple[PositiveInt, ...] = Field(
        (128, 128), min_length=1, description="mlp: units of each hidden layer"
    )
    width: int = Field(64, ge=1, description="set: units of each layer")
    encoder: Literal["nature", "residual"] = Field(
        "nature", description="pictures: the convolutions before the hidden layers"
    )
    layer_norm: bool = Field(False, description="hidden layers have layer normalisation")
    memory: int = Field(
        0, ge=0, description="mlp: units of a recurrent layer (GRU) after the hidden ones; 0: none"
    )
    normalise: bool = Field(
        False, description="mlp: shift and scale observations by their running statistics"
    )
    mixing: int = Field(32, ge=1, description="qmix: units of the mixer")
    hypernet: int = Field(64, ge=1, description="qmix: hidden units of the mixer's hypernetworks")
    gamma: float = Field(0.9, ge=0, lt=1, description="discount factor")
    reward_scale: float = Field(1.0, gt=0, description="factor on rewards in updates")
    double: bool = Field(
        True, description="double Q-learning: the network chooses, its target network judges"
    )
    window: int = Field(1, ge=1, description="replay: steps in a row in each row of a batch")
    td_lambda: float = Field(
        0.0,
        ge=0,
        le=1,
        description="lambda of the returns: 0: of one step; 1: of all steps in a row",
    )
    tau: float = Field(0.01, gt=0, le=1, description="step of the target network at each update")
    target_every: int = Field(
        0, ge=0, description="updates between copies to the target network; 0: it follows by tau"
    )
    replay: bool = Field(
        True,
        description="false: learn from the last training.update_every steps, without target "
        "network",
    )
    epochs: int = Field(4, ge=1, description="without replay: passes over the steps")
    minibatches: int = Field(4, ge=1, description="without replay: updates in each pass")
    lr: float = Field(5e-4, gt=0, description="Adam's learning rate")
    mixer_lr: float = Field(
        5e-4, gt=0, description="qmix: Adam's learning rate of the mixer and its hypernetworks"
    )
    final_lr: float = Field(
        1.0, gt=0, le=1, description="the learning rate falls linearly to this share of its start"
    )
    average: float = Field(
        0.0, ge=0, lt=1, description="decay of the network average that acts greedily; 0: none"
    )
    gradient_clip: float = Field(
        10.0, ge=0, description="largest norm of a network's gradient; 0: no limit"
    )
    augment: bool = Field(
        False,
        description="turn and reflect rows by the square's symmetries; shift pictures at random",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.name != "qmix":
            idle = ("mixing", "hypernet", "mixer_lr")
            check_idle(self, idle, f"only qmix's mixer has it, not {self.name}")
        if self.replay:
            check_idle(self, ("epochs", "minibatches"), "it is for learning without replay")
        else:
            idle = ("tau", "target_every", "double")
            check_idle(self, idle, "without replay there is no target network")
        if self.window > 1 and not self.replay:
            raise ValueError(
                "window is of batches from replay, which is false; all steps of a rollout, "
                "training.update_every / training.num_worlds, are in a row"
            )
        if self.memory and self.replay and self.window == 1:
            raise ValueError(
                f"memory is {self.memory}, but window is 1; it learns from several steps in a row"
            )
        return self


class QLearning(LearningAgent["QLearner"]):
    """Q-learning: the values of each group's choices, learned by the groups of a team together."""

    noises = ("epsilon", "none")

    def __init__(
        self,
        groups: dict[str, Group],
        config: QConfig,
        exploration: ExplorationConfig | None = None,
        seed: int = 0,
    ) -> None:
        mixing = FAMILY[config.name] is not None
        self.size_invariant = config.networks == "one"
        self.draw, self.window = _draw(config), config.window
        super().__init__(groups, config, exploration, seed, lambda g: QLearner(g, groups, config))
        members = _teams(groups, config.name) if mixing else {g: [g] for g in groups}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(4)[3]))
            self.teams = {
                name: _Team({g: self.learners[g] for g in own}, groups, config)
                for name, own in members.items()
            }
        self._hidden: dict[str, Tensor] = {}  # memory: the state of each agent, [N, E, H]
        self._recorded: Mapping[str, Arrays] = NOTHING

    # ------------------------------------------------------------------------------------- acting

    def act(self, perceived: Arrays, explore: bool = False) -> Arrays:
        actions, before = {}, {}
        with torch.no_grad():
            for g, learner in self.learners.items():
                observation = rows_of(perceived[g]).transpose(0, 1)
                seen, hidden = learner.normalised(observation, learn=explore), None
                if self.config.memory:
                    empty = torch.zeros(*observation.shape[:2], self.config.memory)
                    hidden = self._hidden.get(g, empty)
                    before[g] = hidden.transpose(0, 1).numpy()
                values, hidden = learner.act(seen, hidden, explore)
                if hidden is not None:
                    self._hidden[g] = hidden
                legal = learner.choices.legal(self.groups[g].legal(observation))
                choice = best(values, legal)
                if explore:
                    choice = self.exploration.choose(choice, len(learner.choices), legal)
                actions[g] = learner.choices.action(choice.transpose(0, 1)).numpy()
        self._recorded = {"hidden": before} if before else NOTHING
        return actions

    def recorded(self) -> Mapping[str, Arrays]:
        return self._recorded

    def reset(self, mask: np.ndarray | None = None) -> None:
        if mask is None:
            self._hidden = {}
        else:
            keeps = torch.from_numpy(~mask)[:, None]
            self._hidden = {g: hidden * keeps for g, hidden in self._hidden.items()}

    # ------------------------------------------------------------------------------------ learning

    def columns(self, groups: dict[str, Group]) -> Columns:
        memory = self.config.memory
        return columns_of(groups, **({"hidden": Column((memory,))} if memory else {}))

    def update(self, batch: dict[str, Batch]) -> dict[str, Tensor]:
        results: dict[str, Tensor] = {}
        for name, team in self.teams.items():
            steps = {g: self.prepare(g, batch[g]) for g in team.learners}
            prefix = f"{name}." if len(self.teams) > 1 else ""
            result = of_all(team.update(steps, self.generator))
            results |= {f"{prefix}{key}": value for key, value in result.items()}
        return results

    def prepare(self, g: str, batch: Batch) -> Steps:
        """A batch -> [N, T, B, ...], with `normalise` and `reward_scale`."""
        learner, group = self.learners[g], self.groups[g]
        present = torch.ones_like(batch.reward) if batch.present is None else batch.present
        legal, hidden = learner.choices.legal(group.legal(batch.next_observation)), None
        if self.config.memory:
            hidden = in_order(batch.added["hidden"], batch)[:, :1]
        return Steps(
            learner.normalised(in_order(batch.observation, batch)),
            learner.normalised(in_order(batch.next_observation, batch)),
            learner.choices.number(in_order(batch.action, batch)),
            self.config.reward_scale * in_order(batch.reward, batch),
            in_order(batch.terminated, batch),
            in_order(present, batch),
            *inside_and_continues(batch),
            None if legal is None else in_order(legal, batch),
            hidden,
        )

    def anneal(self, progress: float) -> None:
        super().anneal(progress)
        for team in self.teams.values():
            team.scale_rates(1.0 + (self.config.final_lr - 1.0) * progress)

    # --------------------------------------------------------------------------------- checkpoints

    def state_dict(self) -> dict[str, Tensor]:
        state = super().state_dict()
        for name, team in self.teams.items():
            state |= {f"team.{name}.{k}": x for k, x in team.state_dict().items()}
        return state | {f"hidden.{g}": x.clone() for g, x in self._hidden.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        super().load_state_dict(state)
        for name, team in self.teams.items():
            team.load_state_dict(below(f"team.{name}.", state))
        found = {g: state.get(f"hidden.{g}") for g in self.groups}
        self._hidden = {g: x.clone() for g, x in found.items() if x is not None}


def _draw(config: QConfig) -> Draw:
    """How batches are drawn."""
    if not config.replay:
        return "rollout"
    if config.window > 1:
        return "windows"
    alone = FAMILY[config.name] is None and config.networks == "one"
    return "agents" if alone else "steps"


def _teams(groups: Mapping[str, Group], name: str) -> dict[str, list[str]]:
    """The groups of each team. Raises ValueError if the world does not say who plays together."""
    unknown = [g for g, group in groups.items() if group.team is None]
    if len(groups) > 1 and unknown:
        raise ValueError(
            f"{name!r} learns the value of a team, but the world does not say in which team its "
            f"groups {', '.join(unknown)} are; 'iql' needs no teams"
        )
    teams: dict[str, list[str]] = {}
    for g, group in groups.items():
        teams.setdefault(group.team or g, []).append(g)
    return teams


class _Team(Learner):
    """The groups that learn one value together; a single group without mixer."""

    optimisers = ("optimiser",)

    def __init__(
        self, learners: dict[str, QLearner], groups: Mapping[str, Group], config: QConfig
    ) -> None:
        self.learners, self.config = learners, config
        own = [groups[g] for g in learners]
        values = nn.ModuleList(learner.network for learner in learners.values())
        self.networks = nn.ModuleList(values)  # and the mixer
        targets: list[nn.Module] = [learner.target for learner in learners.values()]
        self.mixer: nn.Module | None = None
        mixers: list[tuple[nn.Module, float]] = []
        self.stored: tuple[str, ...] = ()
        if kind := FAMILY[config.name]:
            if MIXERS[kind].needs_state:
                check_pictures(config, {g: groups[g] for g in learners}, joint=True)
            state = sum(len(x) * x.observation_size for x in own)
            agents = sum(map(len, own))
            self.mixer = MIXERS[kind](agents, state, config.mixing, config.hypernet)
            self.target_mixer = frozen(self.mixer) if config.replay else self.mixer
            if [*self.mixer.parameters()]:
                self.networks.append(self.mixer)
                mixers.append((self.mixer, config.mixer_lr))
                targets.append(self.target_mixer)
                self.stored = ("mixer", "target_mixer") if config.replay else ("mixer",)
        self.target_networks = nn.ModuleList(targets)
        self.stack = 1 if self.mixer is not None else next(iter(learners.values())).stack
        self.optimiser = adam(values, config.lr, *mixers)

    def update(self, steps: dict[str, Steps], generator: torch.Generator) -> Logged:
        """The equations at the head of the file."""
        # Targets
        y = self.targets(steps)
        for part, goal in self.parts(steps, y, generator):
            self.updates += 1
            # Values
            part = {g: x.augment(part[g], generator) for g, x in self.learners.items()}
            loss, result = self.loss(part, goal)
            self.descend(self.networks, self.optimiser, loss)
            # Target networks
            self.move_targets()
        return result

    @torch.no_grad()
    def targets(self, steps: dict[str, Steps]) -> Tensor:
        """y, [N, T, B]; of a mixed value, [1, T, B]."""
        value = {g: learner.next_value(steps[g]) for g, learner in self.learners.items()}
        any_group = next(iter(steps.values()))
        reward, terminated = any_group.reward, any_group.terminated
        if self.mixer is None:
            (next_value,) = value.values()
        else:
            own = steps.values()
            stays = {g: x.stays for g, x in steps.items()}
            next_value = _mixed(
                self.target_mixer, value, {g: x.next_observation for g, x in steps.items()}, stays
            )
            reward = torch.cat([x.reward * x.present for x in own]).mean(0, True)
            terminated = 1.0 - torch.cat([*stays.values()]).amax(0, True)
        discount = self.config.gamma * (1.0 - terminated)
        continues = any_group.continues
        return lambda_returns(reward, discount, next_value, continues, self.config.td_lambda)

    def loss(self, steps: dict[str, Steps], y: Tensor) -> tuple[Tensor, Logged]:
        """The mean squared error of the values of what was done, [K], and values to log."""
        value = {}
        for g, learner in self.learners.items():
            values = learner.values(learner.network, steps[g])
            value[g] = values.gather(-1, steps[g].choice[..., None])[..., 0]
        present = {g: x.present for g, x in steps.items()}
        if self.mixer is None:
            (q,), (there,) = value.values(), present.values()
        else:
            seen = {g: x.observation for g, x in steps.items()}
            q = _mixed(self.mixer, value, seen, present)
            there = torch.cat([*present.values()]).amax(0, True)
        counts = there * next(iter(steps.values())).inside
        q, y, counts = (x.reshape(self.stack, -1, 1) for x in (q, y, counts))
        loss = mean_of_present((q - y).square(), counts)
        return loss, {"q_loss": loss.detach(), "value": mean_of_present(q.detach(), counts)}

    def parts(
        self, steps: dict[str, Steps], y: Tensor, generator: torch.Generator
    ) -> Iterator[tuple[dict[str, Steps], Tensor]]:
        """What each update learns from: all of it; or the minibatches of a rollout, of single steps
        or, with a memory, of worlds."""
        c = self.config
        if c.replay:
            yield steps, y
            return
        if not c.memory:
            steps, y = {g: x.flat() for g, x in steps.items()}, y.flatten(1, 2)[:, None]
        for _ in range(c.epochs):
            order = torch.randperm(y.shape[-1], generator=generator)
            for rows in order.chunk(c.minibatches):
                yield {g: x.rows(rows) for g, x in steps.items()}, y[..., rows]

    def move_targets(self) -> None:
        """Move the target networks and the running averages by one step."""
        c = self.config
        if c.replay and not c.target_every:
            follow(self.target_networks, self.networks, c.tau)
        elif c.replay and self.updates % c.target_every == 0:
            follow(self.target_networks, self.networks, 1.0)
        for learner in self.learners.values():
            average(learner.greedy, learner.network, c.average, self.updates)


def _mixed(
    mixer: nn.Module, value: dict[str, Tensor], seen: dict[str, Tensor], present: dict[str, Tensor]
) -> Tensor:
    """The value of a team, [1, T, B], from those of its agents, {g: [N, T, B]}, and what they see,
    {g: [N, T, B, O]}. Agents that are not present, [N, T, B], have no value and see zeros."""
    values, state = torch.cat([x * present[g] for g, x in value.items()]), None
    if mixer.needs_state:
        rows = {g: (x * present[g][..., None]).flatten(1, 2) for g, x in seen.items()}
        state = one_table(rows, next(iter(rows)))[0]
    return mixer(values.flatten(1), state).view_as(values[:1])
