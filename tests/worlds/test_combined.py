import numpy as np
import pytest

from marl.testing.check_world import check_world
from marl.worlds.base import Step
from marl.worlds.combined import ConcatenatedWorlds, joined, split
from marl.worlds.particles.scenarios.spread import Spread
from marl.worlds.particles.world import ParticleWorld


def worlds():
    return [ParticleWorld(Spread(episode_length=5), 3, seed) for seed in (4, 5)]


def test_they_are_what_they_are_alone():
    together, alone = ConcatenatedWorlds(worlds()), worlds()
    assert together.num_worlds == 6
    rng = np.random.default_rng(0)
    seen = together.reset()
    for world, part in zip(alone, split(seen, 2), strict=True):
        assert np.array_equal(world.reset()["agents"], part["agents"])
    for _ in range(12):
        actions = {"agents": rng.uniform(-1, 1, (6, 4, 2)).astype("f4")}
        step = together.step(actions)
        parts = [w.step(a) for w, a in zip(alone, split(actions, 2), strict=True)]
        assert isinstance(step, Step)
        same(step, joined(parts))
        assert np.array_equal(together.state(), np.concatenate([w.state() for w in alone]))
        same(together.neighbours(2), joined([w.neighbours(2) for w in alone]))
        assert together.scene(4).caption == alone[1].scene(1).caption
        if step.done.any():
            mask = rng.random(6) < 0.5
            after = together.reset(mask)
            own = [w.reset(m) for w, m in zip(alone, np.split(mask, 2), strict=True)]
            same(after, joined(own))


def same(one, other):
    if isinstance(one, np.ndarray):
        assert np.array_equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            same(value, other[key])
    else:
        for x, y in zip(one, other, strict=True):
            same(x, y)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_split_and_joined(parts):
    whole = ({"a": np.arange(12).reshape(6, 2)}, np.arange(6.0))
    pieces = split({"x": whole[0]["a"], "y": whole[1]}, parts)
    assert len(pieces) == parts
    same(joined(pieces), {"x": whole[0]["a"], "y": whole[1]})


def test_check_world():
    check_world(ConcatenatedWorlds(worlds()))
