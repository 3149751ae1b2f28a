import numpy as np
import pytest

from marl.testing.check_world import check_world
from marl.worlds.base import Step
from marl.worlds.combined import ConcatenatedWorlds, joined, split
from marl.worlds.particles.scenarios.spread import Spread
from marl.worlds.particles.world import ParticleWorld


def worlds(counts=(3, 3)):
    seeds = range(4, 4 + len(counts))
    return [
        ParticleWorld(Spread(episode_length=5), n, seed)
        for n, seed in zip(counts, seeds, strict=True)
    ]


@pytest.mark.parametrize("counts", [(3, 3), (1, 3, 2)])
def test_they_are_what_they_are_alone(counts):
    together, alone = ConcatenatedWorlds(worlds(counts)), worlds(counts)
    cuts = np.cumsum(counts)[:-1].tolist()
    assert together.num_worlds == 6
    rng = np.random.default_rng(0)
    seen = together.reset()
    for world, part in zip(alone, split(seen, cuts), strict=True):
        assert np.array_equal(world.reset()["agents"], part["agents"])
    for _ in range(12):
        actions = {"agents": rng.uniform(-1, 1, (6, 4, 2)).astype("f4")}
        step = together.step(actions)
        parts = [w.step(a) for w, a in zip(alone, split(actions, cuts), strict=True)]
        assert isinstance(step, Step)
        same(step, joined(parts))
        same(together.privileged(), joined([w.privileged() for w in alone]))
        assert np.array_equal(together.state(), np.concatenate([w.state() for w in alone]))
        same(together.neighbours(2), joined([w.neighbours(2) for w in alone]))
        places = [(w, e) for w, n in enumerate(counts) for e in range(n)]
        for number, (w, e) in enumerate(places):
            one, other = together.scene(number), alone[w].scene(e)
            assert np.array_equal(one.positions, other.positions)
        if step.done.any():
            mask = rng.random(6) < 0.5
            after = together.reset(mask)
            own = [w.reset(m) for w, m in zip(alone, np.split(mask, cuts), strict=True)]
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
