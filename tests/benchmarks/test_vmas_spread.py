"""VMAS's simple_spread as a scenario of marl: the same world, step for step."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from vmas_spread import VmasSpread

from marl.worlds.particles.world import ParticleWorld

RECORD = Path(__file__).parent / "vmas_spread.npz"  # by benchmarks/peers/recording.py


@pytest.fixture(scope="module")
def played():
    """What marl makes of the recorded episodes: {name: [T, E, ...]}, and the record."""
    record = np.load(RECORD)
    world = ParticleWorld(VmasSpread(), len(record["agents"]), 0)
    world.reset()
    still = np.zeros_like(record["agents"])
    start = world.set_state(record["agents"], still, record["landmarks"])["agents"]
    steps = [world.step({"agents": action}) for action in record["actions"]]
    return record, {
        "start": start,
        "observation": np.stack([step.observation["agents"] for step in steps]),
        "reward": np.stack([step.reward["agents"] for step in steps]),
        "collisions": np.stack([step.metrics["collisions"] for step in steps]),
    }


def test_until_agents_touch_the_worlds_are_equal(played):
    record, ours = played
    apart = ~np.maximum.accumulate(ours["collisions"] > 0)
    assert apart.sum() > 50
    np.testing.assert_allclose(ours["start"], record["start"], atol=1e-6)
    for name in ("observation", "reward"):
        np.testing.assert_allclose(ours[name][apart], record[name][apart], atol=1e-5)


def test_contacts_are_nearly_equal(played):
    """Where two agents just touch, one library may count it, which costs 2, and the other not."""
    record, ours = played
    assert (ours["collisions"] > 0).sum() > 20
    np.testing.assert_allclose(ours["observation"], record["observation"], atol=0.05)
    assert (abs(ours["reward"] - record["reward"]) < 0.01).mean() > 0.95
