"""Random play."""

import json

import numpy as np
import torch
from torch import Tensor

from marl.agents.core.base import Policy
from marl.worlds.base import Arrays, World


class Random(Policy):
    """Uniform actions."""

    def __init__(self, world: World, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._groups = world.groups

    def state_dict(self) -> dict[str, Tensor]:
        stream = json.dumps(self._rng.bit_generator.state).encode()
        return {"stream": torch.tensor([*stream], dtype=torch.uint8)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._rng.bit_generator.state = json.loads(bytes(state["stream"].tolist()))

    def act(self, observation: Arrays, explore: bool = False) -> Arrays:
        return {
            g: self._groups[g].random_actions(
                self._rng, *rows.shape[:2], legal=self._groups[g].legal(rows)
            )
            for g, rows in observation.items()
        }
