"""Groups that play with the weights of another run and do not learn: `agents.GROUP.frozen`."""

from dataclasses import replace
from typing import Any

from marl.agents import find_agent
from marl.agents.core.base import Agent
from marl.config.checking import parse_section
from marl.config.model import Config
from marl.config.players import FrozenPlayer
from marl.errors import UserError
from marl.runs.checkpoint import Checkpoint, as_tensors, read_checkpoint, warn_of_unfinished
from marl.runs.paths import find_weights


def resolve_frozen(config: Config) -> Config:
    """The config with the training settings of the frozen groups filled in, so that it is complete
    without the other run. Raises UserError if the other run cannot be used, and warns
    (PolicyWarning) if it is not finished."""
    agents = {}
    kind = find_agent(config.agent_name).agent
    for g, settings in config.agents.items():
        agents[g] = settings
        if name := getattr(settings, "frozen", ""):
            trained = _trained(g, name)
            found = find_agent(trained["name"])
            if kind.settings_per_group and found.agent is kind:
                trained = {**trained, "frozen": name}
                agents[g] = parse_section(found.config, trained, f"agents.{g}")
            else:
                agents[g] = FrozenPlayer(frozen=name, agent=trained)
    return replace(config, agents=agents)


def freeze(agent: Agent, config: Config) -> None:
    """Load the weights of the frozen groups into a new agent. Raises UserError if they do not
    fit."""
    for g, settings in config.agents.items():
        if name := getattr(settings, "frozen", ""):
            tensors = as_tensors(_checkpoint(g, name).tensors)
            try:
                agent.freeze(g, tensors)
            except ValueError as error:
                raise UserError(
                    f"agents.{g}.frozen is {name!r}, which does not fit: {error}"
                ) from error


def _trained(g: str, name: str) -> dict[str, Any]:
    """The settings with which that run trained the agent of a group. Code that they name is
    imported, as far as the run is trusted."""
    checkpoint = _checkpoint(g, name)
    stored = checkpoint.config
    stored.resolve()
    warn_of_unfinished(f"agents.{g}.frozen", checkpoint, stacklevel=3)
    player = stored.data["agents"].get(g, stored.data["agent"])
    if "policy" in player:
        raise UserError(
            f"agents.{g}.frozen is {name!r}, where the group is played by {player['policy']!r}; "
            f"set agents.{g}.policy"
        )
    return player.get("agent", player)


def _checkpoint(g: str, name: str) -> Checkpoint:
    checkpoint = read_checkpoint(find_weights(name))
    if not any(key.startswith(f"{g}.") for key in checkpoint.tensors):
        raise UserError(f"agents.{g}.frozen is {name!r}, which has no group {g!r}")
    return checkpoint
