import numpy as np
import pytest
from tiny import TINY, check_resumes

from marl.config.parsing import parse_config, with_settings
from marl.errors import UserError
from marl.testing.check_world import check_world
from marl.training.loop import train
from marl.worlds.combined import MixedSizes
from marl.worlds.particles.scenarios.spread import Spread
from marl.worlds.particles.world import ParticleWorld

SIZES = 4, 1, 6


def islands():
    return [
        ParticleWorld(Spread(num_agents=n, episode_length=5), 3, n, staggered=True) for n in SIZES
    ]


def along(parts):
    return np.concatenate([part["agents"] for part in parts], 1)


def test_islands_are_what_they_are_alone():
    together, alone = MixedSizes(islands()), islands()
    assert len(together.groups["agents"]) == len(set(together.groups["agents"].names)) == 11
    rng = np.random.default_rng(0)
    assert np.array_equal(together.reset()["agents"], along([w.reset() for w in alone]))
    for _ in range(12):
        actions = rng.uniform(-1, 1, (3, 11, 2)).astype("f4")
        step = together.step({"agents": actions})
        parts = [
            w.step({"agents": own})
            for w, own in zip(alone, np.split(actions, [4, 5], 1), strict=True)
        ]
        for name in ("observation", "reward", "terminated", "active"):
            found = getattr(step, name)["agents"]
            assert np.array_equal(found, along([getattr(part, name) for part in parts]))
        assert all(np.array_equal(step.done, part.done) for part in parts)
        mean = sum(n * part.metrics["coverage"] for n, part in zip(SIZES, parts, strict=True)) / 11
        np.testing.assert_allclose(step.metrics["coverage"], mean, rtol=1e-6)
        assert np.array_equal(
            together.privileged()["agents"], along([w.privileged() for w in alone])
        )
        if step.done.any():
            after = along([w.reset(step.done) for w in alone])
            assert np.array_equal(together.reset(step.done)["agents"], after)


def test_neighbours_are_on_ones_own_island():
    """Numbers are of all agents and all landmarks there are; an agent alone is near nobody."""
    world = MixedSizes(islands())
    world.reset()
    near = world.neighbours(3, 2)["agents"]
    places = [w.positions() for w in world.islands]
    agents = np.concatenate([agents for agents, _ in places], 1)
    landmarks = np.concatenate([landmarks for _, landmarks in places], 1)
    first, last = np.repeat([0, 4, 5], SIZES), np.repeat([4, 5, 11], SIZES)
    for e, i in np.ndindex(3, 11):
        own = np.arange(first[i], last[i])
        order = own[np.argsort(np.square(agents[e, own] - agents[e, i]).sum(1))]
        expected = [*order[1:4], -1, -1, -1][:3]
        assert near.agents[e, i].tolist() == expected
        order = own[np.argsort(np.square(landmarks[e, own] - agents[e, i]).sum(1))]
        assert near.landmarks[e, i].tolist() == [*order[:2], -1][:2]


def test_check_world():
    check_world(MixedSizes(islands()))


@pytest.mark.parametrize("name", ["atoc", "messages"])
def test_training_is_stopped_and_resumed(data, monkeypatch, name):
    agent = {"name": name} | ({"width": 8} if name == "messages" else {"hidden": [8]})
    settings = ["training.num_agents=[2,3]", "training.steps=240"]
    check_resumes(
        parse_config(with_settings({**TINY, "agent": agent}, settings)), monkeypatch, 160 + 4
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["agent.name=global"], "num_agents .*'global' is tied to one number of agents"),
        (
            ["agent.name=global", "training.num_agents=[]", "training.evaluate_agents=[9]"],
            "evaluate_agents .*'global' is tied",
        ),
        (["training.num_agents=[4,0]"], "training.num_agents holds 0"),
        (
            ["training.num_agents=[3,4]", "world.num_agents=3", "world.observation=everything"],
            "holds 4, but then 'agents' observe 24 numbers and not 18",
        ),
        (
            [
                "training.num_agents=[]",
                "training.evaluate_agents=[12]",
                "world.observation=everything",
            ],
            "training.evaluate_agents holds 12, but then 'agents' observe",
        ),
        (["training.num_agents=4"], "training.num_agents is 4"),
    ],
)
def test_what_does_not_fit_is_refused(data, settings, said):
    config = with_settings(TINY, ["training.num_agents=[4,8]", *settings])
    with pytest.raises(UserError, match=said):  # some as they are read, some when they begin
        train(*[parse_config(config)], "a")
