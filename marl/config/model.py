"""The settings of a run: each with its type, its default and one line of description."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from marl.agents import Agent
from marl.config.players import BuiltinPlayer, make_agent, name_of
from marl.errors import NO_MEMORY, UserError, lacks_memory
from marl.evaluation import MAX_STEPS
from marl.learning.exploration import ExplorationConfig
from marl.values import SEEDS
from marl.worlds.base import World, WorldConfig
from marl.worlds.combined import ConcatenatedWorlds, MixedSizes
from marl.worlds.particles.world import ParticleWorld
from marl.worlds.spaces import Group

Share = Annotated[float, Field(ge=0, le=1)]


class Stage(BaseModel):
    """A stage of training in which the world differs from `world`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    until: int = Field(ge=1, description="environment steps of the training at its end")
    world: dict[str, Any] = Field(description="the world's parameters that differ")


class TrainingConfig(BaseModel):
    """How long and how to train. Steps are environment steps, summed over the worlds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(0, ge=0, lt=SEEDS, description="seed of all random streams")
    steps: int = Field(1_000_000, ge=1, description="environment steps of the training")
    num_worlds: int = Field(64, ge=1, description="worlds stepped side by side")
    num_agents: tuple[int, ...] = Field(
        (),
        description="train with several numbers of agents at once, such as [4, 8, 12], instead of "
        "world.num_agents",
    )
    vary: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(
        {},
        description="parameters in which the worlds differ, such as "
        '{"num_landmarks": [4, 5, 6]}: world e has the e-th value of each list; lists repeat',
    )
    curriculum: tuple[Stage, ...] = Field(
        (),
        description="stages of training, one after the other, in which the world has other "
        'parameters, such as [{"until": 500000, "world": {"collision_penalty": 0}}]; then it is '
        "as in `world`",
    )
    staggered: bool = Field(True, description="the worlds' episodes do not all end at once")
    batch_size: int = Field(
        256, ge=1, description="transitions of single agents in an update from replay"
    )
    replay_size: int = Field(250_000, ge=1, description="steps of single worlds in replay")
    learning_starts: int = Field(2_000, ge=0, description="environment steps before updates")
    update_every: int = Field(
        64,
        ge=1,
        description="environment steps between updates; agents without replay learn from all of "
        "them, so it is a multiple of num_worlds",
    )
    updates: int = Field(1, ge=0, description="updates at a time")
    log_every: int = Field(
        20_000, ge=0, description="environment steps between log lines; 0: never"
    )
    checkpoint_every: int = Field(
        250_000, ge=0, description="environment steps between checkpoints; 0: only first and last"
    )
    evaluate_every: int = Field(
        100_000, ge=0, description="environment steps between evaluations; 0: never"
    )
    evaluate_agents: tuple[int, ...] = Field(
        (), description="more numbers of agents to evaluate with, such as [80, 1000]"
    )
    reward_sharing: Share | dict[str, Share] = Field(
        0.0,
        description="share of an agent's reward that is the mean of its group: for all, or by "
        'group, as {"good": 0.5}',
    )
    final_reward_sharing: Share | dict[str, Share] | None = Field(
        None, description="reward_sharing at the end, reached linearly; null: the same"
    )
    publish: Literal["last", "best"] = Field(
        "last",
        description="published weights: the last ones, or those with the best evaluation so far, "
        "averaged over the evaluated numbers of agents",
    )

    def stage(self, step: int) -> tuple[int, dict[str, Any]]:
        """The end of the stage of this step, and the world's parameters in it."""
        ends = ((x.until, x.world) for x in self.curriculum if step < x.until)
        return next(ends, (self.steps, {}))

    def kinds(self) -> list[tuple[dict[str, Any], int]]:
        """The parameters in which worlds differ (`vary`), and the number of worlds with each."""
        kinds: list[dict[str, Any]] = []
        counts: list[int] = []
        for world in range(self.num_worlds):
            kind = {name: values[world % len(values)] for name, values in self.vary.items()}
            if kind not in kinds:
                kinds.append(kind)
                counts.append(0)
            counts[kinds.index(kind)] += 1
        return list(zip(kinds, counts, strict=True))


class EvaluationConfig(BaseModel):
    """The defaults of `marl evaluate`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    agents: tuple[int, ...] | None = Field(
        None,
        min_length=1,
        description="numbers of agents; null: those of the scenario, in spread 4, 12, 80 and 1000, "
        "or the world's own where observations grow with the number of agents",
    )
    episodes: int | None = Field(
        None, ge=1, description="null: about 20 000 agents' worth of episodes, 20 to 2000"
    )
    seed: int = Field(1_000_000, ge=0, lt=SEEDS, description="seed of the episodes")
    max_steps: int = Field(
        MAX_STEPS, ge=1, description="steps after which an episode is cut off that has not ended"
    )
    epsilon: float = Field(
        0.0,
        ge=0,
        le=1,
        description="chance that an agent's action is a random one, not its best, also in "
        "rendering; parts agents that would block each other forever",
    )
    expected: dict[int, float] = Field(
        {},
        description="first metric that this config should reach, by number of agents, such as "
        '{"80": 0.86}; training reports a lower end',
    )
    world: dict[str, Any] = Field(
        {"reward": "shared"},
        description="scenario parameters that replace the training world's, also in rendering",
    )


@dataclass(frozen=True)
class Config:
    """All settings of a run, checked, with all defaults. Make one with `parse_config` or
    `load_config`.

    `world` and `agent` are instances of the models that belong to their names. `agents` says who
    plays the groups that `agent` does not play as it is. `evaluation_world` is `world` with the
    replacements in `evaluation.world`.
    """

    scenario: str  # the name by which `world` is found
    world: WorldConfig
    agent: BaseModel
    agents: Mapping[str, BaseModel]
    exploration: ExplorationConfig
    training: TrainingConfig
    evaluation: EvaluationConfig
    evaluation_world: WorldConfig

    @property
    def agent_name(self) -> str:
        """The name by which the agent is found."""
        return name_of(self.agent)

    def to_json(self) -> dict[str, Any]:
        """The JSON from which `parse_config` makes this config."""

        def section(model: BaseModel) -> dict[str, Any]:
            return model.model_dump(mode="json")

        return {
            "world": world_to_json(self.scenario, self.world),
            "agent": {"name": self.agent_name, **section(self.agent)},
            "agents": {g: section(settings) for g, settings in self.agents.items()},
            "exploration": section(self.exploration),
            "training": section(self.training),
            "evaluation": section(self.evaluation),
        }

    def flat(self) -> dict[str, Any]:
        """Every setting as {dotted key: value}."""
        return flattened(self.to_json())

    def make_world(self, num_worlds: int, seed: int, staggered: bool = False) -> World:
        """Worlds of the training scenario."""
        return self.world.make_world(num_worlds, seed, staggered)

    def make_training_world(self, seed: int, step: int = 0) -> World:
        """The training world at a step: with islands if it has several numbers of agents,
        concatenated if the worlds differ in something else."""
        t = self.training
        stage = self.world.replaced(**t.stage(step)[1])
        if not (t.vary or t.num_agents):
            return stage.make_world(t.num_worlds, seed, t.staggered)
        kinds = t.kinds() if t.vary else [({"num_agents": n}, t.num_worlds) for n in t.num_agents]
        seeds = np.random.SeedSequence(seed).generate_state(len(kinds))
        worlds = [
            stage.replaced(**parameters).make_world(count, int(stream), t.staggered)
            for (parameters, count), stream in zip(kinds, seeds, strict=True)
        ]
        if t.vary:
            return ConcatenatedWorlds(worlds)
        return MixedSizes([cast(ParticleWorld, world) for world in worlds])

    def make_agent(self, groups: dict[str, Group], seed: int, world: World | None = None) -> Agent:
        """An untrained agent for these groups, of `world` if built-in policies are to look at it.
        Raises UserError where they do not fit it."""
        try:
            if world is None and any(isinstance(x, BuiltinPlayer) for x in self.agents.values()):
                world = self.make_world(1, seed)
            return make_agent(self.agent, self.agents, self.exploration, groups, seed, world)
        except (ValueError, RuntimeError, MemoryError) as error:
            why = NO_MEMORY if lacks_memory(error) else error
            raise UserError(f"the agent cannot be built: {why}") from error


SECTIONS = ("world", "agent", "agents", "exploration", "training", "evaluation")


def world_to_json(scenario: str, world: WorldConfig) -> dict[str, Any]:
    """The section `world` of a config."""
    return {"scenario": scenario, **world.model_dump(mode="json")}


def flattened(data: dict[str, Any]) -> dict[str, Any]:
    """A config's JSON as {dotted key: value}."""

    def leaves(data: dict[str, Any], where: str) -> Iterator[tuple[str, Any]]:
        for key, value in data.items():
            if isinstance(value, dict) and value:
                yield from leaves(value, f"{where}{key}.")
            else:
                yield f"{where}{key}", value

    return dict(leaves(data, ""))
