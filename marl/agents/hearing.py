"""Who hears whom: what all agents that talk to their neighbours have in common."""

from collections.abc import Sequence

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from marl.worlds.base import Group, Part


class HearingConfig(BaseModel):
    """Settings of agents that send messages of a fixed size to their nearest neighbours."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rounds: int = Field(1, ge=1, description="rounds of messages in each step")
    message_loss: float = Field(0.0, ge=0, le=1, description="share of messages that get lost")
    message_delay: int = Field(0, ge=0, description="steps that a message is under way")
    hearing_radius: float | None = Field(
        None, ge=0, description="distance up to which one hears others; null: however far they are"
    )


def sets(parts: Sequence[Part]) -> tuple[Part, Part]:
    """The parts of an observation that hold other agents and landmarks: the last masked part holds
    landmarks, the one before it agents. Raises ValueError where there are none."""
    masked = [part for part in parts if part.masked and part.vectors]
    if len(masked) != 2:
        raise ValueError(
            "agents that talk need observations with two masked parts, the nearest agents and the "
            f"nearest landmarks; here there are {len(masked)}"
        )
    return masked[0], masked[1]


def pieces(group: Group, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The parts of observations [E, N, O] by name, [E, N, count, item] each."""
    parts = group.observation_parts
    ends = np.cumsum([part.size for part in parts])[:-1]
    return {
        part.name: piece.reshape(*rows.shape[:2], part.count, part.item_size)
        for part, piece in zip(parts, np.split(rows, ends, axis=-1), strict=True)
    }


def heard(config: HearingConfig, agents: np.ndarray, generator: torch.Generator) -> np.ndarray:
    """bool[R, E, N, K]: from which of the agents in view, [E, N, K, item], each one gets a message
    in each round."""
    there = agents[..., -1] > 0
    if config.hearing_radius is not None:
        there &= np.square(agents[..., :2]).sum(-1) <= config.hearing_radius**2
    rounds = np.repeat(there[None], config.rounds, 0)
    if config.message_loss:
        chance: Tensor = torch.rand(rounds.shape, generator=generator)
        rounds &= chance.numpy() >= config.message_loss
    return rounds
