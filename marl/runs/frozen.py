"""Groups that play with the weights of another run and do not learn: `agents.GROUP.frozen`."""

from dataclasses import replace
from typing import cast

from marl.agents.core.base import Agent
from marl.agents.ddpg import DDPG, FAMILY, DDPGConfig
from marl.config.checking import parse_section
from marl.config.model import Config
from marl.errors import UserError
from marl.runs.checkpoint import Checkpoint, as_tensors, read_checkpoint
from marl.runs.paths import find_weights


def resolve_frozen(config: Config) -> Config:
    """The config with the training settings of the frozen groups filled in, so that it is complete
    without the other run. Raises UserError if the other run cannot be used."""
    agents = {}
    for g, settings in config.agents.items():
        agents[g] = settings
        if settings.frozen:
            stored = _checkpoint(g, settings.frozen).config.data
            trained = {**stored["agents"].get(g, stored["agent"]), "frozen": settings.frozen}
            agents[g] = parse_section(DDPGConfig, trained, f"agents.{g}")
    return replace(config, agents=agents)


def freeze(agent: Agent, config: Config) -> None:
    """Load the weights of the frozen groups into a new agent. Raises UserError if they do not
    fit."""
    for g, settings in config.agents.items():
        if settings.frozen:
            tensors = as_tensors(_checkpoint(g, settings.frozen).tensors)
            try:
                cast(DDPG, agent).freeze(g, tensors)
            except ValueError as error:
                raise UserError(
                    f"agents.{g}.frozen is {settings.frozen!r}, which does not fit: {error}"
                ) from error


def _checkpoint(g: str, name: str) -> Checkpoint:
    checkpoint = read_checkpoint(find_weights(name))
    kind = checkpoint.config.data["agent"]["name"]
    if kind not in FAMILY:
        raise UserError(
            f"agents.{g}.frozen is {name!r}, a run of the agent {kind!r}, but should be one of "
            f"{', '.join(FAMILY)}"
        )
    if not any(key.startswith(f"{g}.") for key in checkpoint.tensors):
        raise UserError(f"agents.{g}.frozen is {name!r}, which has no group {g!r}")
    return checkpoint
