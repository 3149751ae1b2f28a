"""Hearing: the part that all agents with messages between neighbours share."""

from collections.abc import Sequence

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from marl.worlds.base import Neighbours
from marl.worlds.spaces import Group, Part


class HearingConfig(BaseModel):
    """Settings of agents that send messages of a fixed size to their nearest neighbours."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rounds: int = Field(1, ge=1, description="rounds of messages in each step")
    message_loss: float = Field(0.0, ge=0, le=1, description="share of messages that are lost")
    message_delay: int = Field(0, ge=0, description="steps between sending and hearing a message")
    hearing_radius: float | None = Field(
        None, ge=0, description="largest distance at which an agent hears others; null: no limit"
    )


def sets(parts: Sequence[Part]) -> tuple[Part, Part]:
    """The parts of an observation with the other agents and the landmarks: the first and the second
    of the two masked parts. Raises ValueError if there are not exactly two."""
    masked = [part for part in parts if part.masked and part.vectors]
    if len(masked) != 2:
        raise ValueError(
            "agents that talk need observations with two masked parts, the nearest agents and the "
            f"nearest landmarks; here there are {len(masked)}"
        )
    return masked[0], masked[1]


def known(groups: dict[str, Group]) -> tuple[int, int]:
    """`Needs.neighbours`: the largest counts of agents and landmarks in an observation."""
    counts = [[part.count for part in sets(x.observation_parts)] for x in groups.values()]
    return max(agents for agents, _ in counts), max(landmarks for _, landmarks in counts)


def told(neighbours: dict[str, Neighbours] | None) -> dict[str, Neighbours]:
    """The neighbours of a view. Raises ValueError if it has none."""
    if neighbours is None:
        raise ValueError("agents that talk must be told who is near whom: View.neighbours")
    return neighbours


def heard(config: HearingConfig, agents: np.ndarray, generator: torch.Generator) -> np.ndarray:
    """bool[R, E, N, K]: an agent hears the k-th of the `agents` in its view, [E, N, K, item], in
    round r."""
    there = agents[..., -1] > 0
    if config.hearing_radius is not None:
        there &= np.square(agents[..., :2]).sum(-1) <= config.hearing_radius**2
    rounds = np.repeat(there[None], config.rounds, 0)
    if config.message_loss:
        chance = torch.rand(rounds.shape, generator=generator).numpy()
        rounds &= chance >= config.message_loss
    return rounds
