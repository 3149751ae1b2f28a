"""Pursuit with everybody where a test wants them."""

import numpy as np

from marl.worlds.pursuit import rules
from marl.worlds.registry import make
from marl.worlds.spaces import one_hot

LEFT, RIGHT, UP, DOWN, STAY = range(5)


def placed(pursuers, evaders, num_worlds=1, **settings):
    """Worlds with pursuers and evaders at these cells (x, y), and what the pursuers see."""
    counts = {"num_agents": len(pursuers), "num_evaders": len(evaders)}
    sizes = {"x_size": 16, "y_size": 16, **settings}
    world = make("pursuit", num_worlds=num_worlds, **counts, **sizes)
    world.reset()
    state = world.state_dict()
    state["pursuers"][:], state["evaders"][:] = pursuers, evaders
    world.load_state_dict(state)
    return world, world.reset(np.zeros(num_worlds, bool))["pursuers"]


def act(world, moves):
    """A step with these moves in every world."""
    chosen = np.broadcast_to(moves, (world.num_worlds, len(moves)))
    return world.step({"pursuers": one_hot(chosen, len(rules.MOVES))})
