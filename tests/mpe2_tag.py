"""MPE2's tag by its name in a config, and a world that is seen in pictures."""

from tiny import TINY

from marl.config.parsing import parse_config, with_settings

NAME = "pettingzoo:mpe2/simple_tag_v3"
TAG = {
    **TINY,
    "world": {"scenario": NAME, "options": {"max_cycles": 4}, "processes": 0},
    "agent": {"name": "maddpg", "hidden": [8]},
    "exploration": {},
    "training": {**TINY["training"], "steps": 80, "checkpoint_every": 40},
}


def tag(*settings):
    return parse_config(with_settings(TAG, settings))


FILMED = """
import numpy as np
from gymnasium.spaces import Box
from mpe2 import simple_v3


class parallel_env:
    metadata = {"name": "filmed"}

    def __init__(self):
        self.env = simple_v3.parallel_env(max_cycles=5)
        self.possible_agents = self.env.possible_agents

    def __getattr__(self, name):
        return getattr(self.env, name)

    def observation_space(self, agent):
        return Box(0, 255, (36, 36, 2), np.uint8)

    def filmed(self, seen):
        places = np.arange(36 * 36 * 2).reshape(36, 36, 2)
        scale = {agent: np.abs(rows).sum() for agent, rows in seen.items()}
        return {agent: (places * x % 256).astype(np.uint8) for agent, x in scale.items()}

    def reset(self, seed=None, options=None):
        seen, infos = self.env.reset(seed)
        return self.filmed(seen), infos

    def step(self, actions):
        seen, *others = self.env.step(actions)
        return self.filmed(seen), *others
"""
