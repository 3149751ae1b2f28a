"""Agents by name: the values that `agent.name` in a config may have."""

from typing import NamedTuple

from pydantic import BaseModel

from marl.agents.atoc import ATOC, ATOCConfig
from marl.agents.auction import AuctionAgent, AuctionConfig
from marl.agents.core.base import Agent, Needs, Policy, View
from marl.agents.ddpg import DDPG, FAMILY, DDPGConfig
from marl.agents.messages import MessagesAgent, MessagesConfig
from marl.agents.ppo import PPO
from marl.agents.ppo_config import FAMILY as PPO_FAMILY
from marl.agents.ppo_config import PPOConfig
from marl.agents.q_learning import FAMILY as Q_LEARNERS
from marl.agents.q_learning import QConfig, QLearning
from marl.agents.sac import CRITICS, SAC, SACConfig
from marl.plugins import imported, loaded, offered


class AgentKind(NamedTuple):
    """The class of an agent and the model of its settings, which has the field `name`."""

    agent: type[Agent]
    config: type[BaseModel]


REGISTRY: dict[str, AgentKind] = {
    **{name: AgentKind(DDPG, DDPGConfig) for name in FAMILY},
    **{name: AgentKind(QLearning, QConfig) for name in Q_LEARNERS},
    "atoc_comm": AgentKind(ATOC, ATOCConfig),
    "auction": AgentKind(AuctionAgent, AuctionConfig),
    "messages": AgentKind(MessagesAgent, MessagesConfig),
    **{name: AgentKind(SAC, SACConfig) for name in CRITICS},
    **{name: AgentKind(PPO, PPOConfig) for name in PPO_FAMILY},
}


ENTRY_POINTS = "marl.agents"  # entry points of packages with agents


def agent_names() -> tuple[str, ...]:
    """The names of all agents, including those of installed packages."""
    return tuple(dict.fromkeys([*REGISTRY, *offered(ENTRY_POINTS)]))


def find_agent(name: str) -> AgentKind:
    """The agent of that name: one of `REGISTRY`, an `AgentKind` of an installed package, or
    "module:NAME", an `AgentKind` that can be imported (also from the current folder). Raises
    ValueError for any other name."""
    if name in REGISTRY:
        return REGISTRY[name]
    try:
        found = loaded(ENTRY_POINTS, name) if name in agent_names() else imported(name)
    except ValueError as error:
        raise ValueError(f"agent {error}") from error
    if not isinstance(found, AgentKind):
        raise ValueError(f"agent {name!r} is not an AgentKind")
    return found


__all__ = [
    "REGISTRY",
    "Agent",
    "AgentKind",
    "Needs",
    "Policy",
    "View",
    "agent_names",
    "find_agent",
]
