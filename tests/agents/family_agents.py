"""What the tests of the DDPG family share: groups and agents."""

from marl.agents.ddpg import DDPG, DDPGConfig
from marl.learning.exploration import ExplorationConfig
from marl.testing.probes import group_of

TEAM = {"team": group_of(3, 4, 2)}
UNLIKE = TEAM | {"rivals": group_of(2, 3, 1)}


def agent_of(name, groups=TEAM, seed=0, kind="gaussian", **settings):
    config = DDPGConfig(**{"name": name, "hidden": (8,)} | settings)
    return DDPG(groups, config, ExplorationConfig(kind=kind), seed)
