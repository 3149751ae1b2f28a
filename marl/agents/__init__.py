"""Agents by name: what `agent.name` in a config may be."""

from typing import NamedTuple

from pydantic import BaseModel

from marl.agents.atoc import ATOC, ATOCConfig
from marl.agents.base import Agent, Policy
from marl.agents.ddpg import DDPG, FAMILY, DDPGConfig


class AgentKind(NamedTuple):
    """A learning agent's class and the model of its settings."""

    agent: type[Agent]
    config: type[BaseModel]


REGISTRY: dict[str, AgentKind] = {
    **{name: AgentKind(DDPG, DDPGConfig) for name in FAMILY},
    "atoc_comm": AgentKind(ATOC, ATOCConfig),
}

__all__ = ["REGISTRY", "Agent", "AgentKind", "Policy"]
