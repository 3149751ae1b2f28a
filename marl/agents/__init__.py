"""Agents by name: the values that `agent.name` in a config may have."""

from typing import NamedTuple

from pydantic import BaseModel

from marl.agents.atoc import ATOC, ATOCConfig
from marl.agents.auction import AuctionAgent, AuctionConfig
from marl.agents.core.base import Agent, Needs, Policy, View
from marl.agents.ddpg import DDPG, DDPGConfig
from marl.agents.messages import MessagesAgent, MessagesConfig
from marl.agents.ppo import PPO
from marl.agents.ppo_config import PPOConfig
from marl.agents.q_learning import QConfig, QLearning
from marl.agents.sac import SAC, SACConfig
from marl.plugins import imported, loaded, offered


class AgentKind(NamedTuple):
    """The class of an agent, the model of its settings, which has the field `name`, and a few words
    on it for `marl list`."""

    agent: type[Agent]
    config: type[BaseModel]
    about: str = ""


REGISTRY: dict[str, AgentKind] = {
    "ddpg": AgentKind(DDPG, DDPGConfig, "independent DDPG"),
    "global": AgentKind(DDPG, DDPGConfig, "DDPG: one actor and critic for all agents together"),
    "atoc": AgentKind(DDPG, DDPGConfig, "DDPG: one actor and critic that all agents share"),
    "maddpg": AgentKind(DDPG, DDPGConfig, "DDPG: actors of their own, critics that see all"),
    "saddpg": AgentKind(DDPG, DDPGConfig, "DDPG: a shared actor, a shared critic that sees all"),
    "atoc_comm": AgentKind(ATOC, ATOCConfig, "atoc with attentional communication"),
    "auction": AgentKind(AuctionAgent, AuctionConfig, "designed messages, learned control"),
    "messages": AgentKind(MessagesAgent, MessagesConfig, "learned messages"),
    "iql": AgentKind(QLearning, QConfig, "independent Q-learning; choices only"),
    "vdn": AgentKind(QLearning, QConfig, "Q-learning: a team's value is a sum; choices only"),
    "qmix": AgentKind(QLearning, QConfig, "Q-learning: a team's value is monotonic; choices only"),
    "isac": AgentKind(SAC, SACConfig, "soft actor-critic, critics see their own"),
    "masac": AgentKind(SAC, SACConfig, "soft actor-critic, critics see all"),
    "ippo": AgentKind(PPO, PPOConfig, "proximal policy optimisation, critics see their own"),
    "mappo": AgentKind(PPO, PPOConfig, "proximal policy optimisation, critics see all"),
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
