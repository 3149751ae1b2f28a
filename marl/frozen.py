"""Groups that play by the weights of another run and do not learn: `agents.GROUP.frozen`."""

from typing import cast

from marl.agents.base import Agent
from marl.agents.ddpg import DDPG, FAMILY
from marl.config import Config
from marl.errors import UserError
from marl.runs import Checkpoint, as_tensors, find_weights, read_checkpoint


def settled(config: Config) -> Config:
    """The config in which frozen groups have the settings that they were trained with, so that it
    says all that there is to know without the other run. Raises UserError where that cannot be
    used."""
    agents = {}
    for g, own in config.agents.items():
        agents[g] = own
        if own["frozen"]:
            stored = _checkpoint(g, own["frozen"]).config
            agents[g] = {**stored.agents.get(g, stored.agent), "frozen": own["frozen"]}
    return config.model_copy(update={"agents": agents})


def freeze(agent: Agent, config: Config) -> None:
    """Give the frozen groups of a new agent their weights. Raises UserError where they do not
    fit."""
    for g, own in config.agents.items():
        if own["frozen"]:
            tensors = as_tensors(_checkpoint(g, own["frozen"]).tensors)
            try:
                cast(DDPG, agent).freeze(g, tensors)
            except ValueError as error:
                raise UserError(
                    f"agents.{g}.frozen is {own['frozen']!r}, which does not fit: {error}"
                ) from error


def _checkpoint(g: str, name: str) -> Checkpoint:
    checkpoint = read_checkpoint(find_weights(name))
    kind = checkpoint.config.agent["name"]
    if kind not in FAMILY:
        raise UserError(
            f"agents.{g}.frozen is {name!r}, a run of the agent {kind!r}, but should be one of "
            f"{', '.join(FAMILY)}"
        )
    if not any(key.startswith(f"{g}.") for key in checkpoint.tensors):
        raise UserError(f"agents.{g}.frozen is {name!r}, which has no group {g!r}")
    return checkpoint
