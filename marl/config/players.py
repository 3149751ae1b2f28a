"""Who plays: the agent of a config, and the groups that somebody else plays (`agents`)."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from marl.agents import Agent, find_agent
from marl.agents.core.base import Policy
from marl.agents.core.by_group import ByGroup, Player
from marl.learning.exploration import ExplorationConfig
from marl.policies.builtin import BUILTIN
from marl.worlds.base import World
from marl.worlds.spaces import Group


class BuiltinPlayer(BaseModel):
    """A policy that needs no training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: str = Field(description="in `agents`: a built-in policy that plays the group")


class FrozenPlayer(BaseModel):
    """An agent of another kind than `agent`, with the weights of another run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frozen: str = Field(description="in `agents`: the run or file with the weights of the group")
    agent: dict[str, Any] = Field({}, description="its settings there, filled in by training")


def plays_together(settings: BaseModel, agent: BaseModel) -> bool:
    """Is a group with these settings played by the same object as those with `agent`?"""
    if isinstance(settings, BuiltinPlayer | FrozenPlayer):
        return False
    kind = find_agent(name_of(agent)).agent
    return kind.settings_per_group and find_agent(name_of(settings)).agent is kind


def name_of(settings: BaseModel) -> str:
    """The name by which an agent is found."""
    return cast(Any, settings).name


def make_agent(
    agent: BaseModel,
    agents: Mapping[str, BaseModel],
    exploration: ExplorationConfig,
    groups: dict[str, Group],
    seed: int,
    world: World | None = None,
) -> Agent:
    """An untrained agent for these groups of a world, which built-in policies look at. Raises
    ValueError where they do not fit."""
    others = {g: x for g, x in agents.items() if plays_together(x, agent)}
    apart = {g: x for g, x in agents.items() if g not in others}
    together = {g: group for g, group in groups.items() if g not in apart}
    more = {"others": others} if others else {}
    kind = find_agent(name_of(agent)).agent
    if not apart:
        return kind(groups, agent, exploration, seed, **more)  # type: ignore[call-arg]
    first, *seeds = map(int, np.random.SeedSequence(seed).generate_state(1 + len(apart)))
    players = []
    if together:
        own = kind(together, agent, exploration, first, **more)  # type: ignore[call-arg]
        players.append(Player(together, own))
    for (g, settings), stream in zip(apart.items(), seeds, strict=True):
        group = {g: groups[g]}
        policy: Policy
        if isinstance(settings, BuiltinPlayer):
            policy = BUILTIN[settings.policy](cast(World, world), stream)
        elif isinstance(settings, FrozenPlayer):
            if not settings.agent:
                raise ValueError(f"agents.{g}.frozen is not resolved: {settings.frozen!r}")
            trained = find_agent(settings.agent["name"])
            policy = trained.agent(group, trained.config(**settings.agent))
        else:
            policy = find_agent(name_of(settings)).agent(group, settings, exploration, stream)
        learns = not isinstance(settings, BuiltinPlayer | FrozenPlayer)
        players.append(Player(group, policy, learns))
    return ByGroup(players)
