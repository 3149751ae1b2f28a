"""MPE's scenarios: sound worlds with any number of agents, metrics by hand, golden trajectories."""

import json
from pathlib import Path

import numpy as np
import pytest

from marl.testing.check_world import check_world
from marl.worlds.particles.scenario import Scenario
from marl.worlds.particles.world import ParticleWorld
from marl.worlds.registry import SCENARIOS, make

GOLDEN = Path(__file__).with_name("golden.json")
MORE = {
    "simple": {"num_agents": 3},
    "adversary": {"num_good": 4, "num_adversaries": 2},
    "crypto": {"num_secrets": 4},
    "push": {"num_good": 2, "num_adversaries": 3, "num_landmarks": 3},
    "reference": {"num_agents": 3},
    "speaker_listener": {"num_pairs": 2},
    "spread": {"num_agents": 3, "observation": "everything"},
    "tag": {"num_good": 3, "num_adversaries": 5, "num_obstacles": 0},
    "world_comm": {"num_good": 1, "num_adversaries": 1, "num_forests": 0, "num_obstacles": 0},
}


def test_every_scenario_is_here():
    assert {*MORE} == {name for name, kind in SCENARIOS.items() if issubclass(kind, Scenario)}


@pytest.mark.parametrize("name", MORE)
def test_check_world(name):
    for actions in ("continuous", "discrete"):
        for parameters in ({}, MORE[name]):
            check_world(make(name, num_worlds=3, actions=actions, **parameters))


def rounded(arrays):
    return {name: np.round(array.astype(float), 6).tolist() for name, array in arrays.items()}


def trajectory(name):
    """Rewards, metrics and first observations of an episode in which everybody acts at random."""
    actions = "discrete" if name == "tag" else "continuous"
    world = make(name, num_worlds=2, seed=11, actions=actions, integration="explicit")
    rng = np.random.default_rng(11)
    world.reset()
    found = []
    for _ in range(5):
        groups = world.groups
        step = world.step({g: groups[g].random_actions(rng, 2, len(groups[g])) for g in groups})
        found.append(
            {
                "reward": rounded(step.reward),
                "metrics": rounded(step.metrics),
                "observation": rounded({g: rows[:, 0] for g, rows in step.observation.items()}),
            }
        )
    return found


def close(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[k], other[k]) for k in one)
    return np.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("name", MORE)
def test_golden_trajectories(name):
    """What happens is what happened when the scenario was written; where it is to change, write
    golden.json anew by running this file."""
    golden = json.loads(GOLDEN.read_text())[name]
    found = trajectory(name)
    assert len(found) == len(golden)
    for t, (one, other) in enumerate(zip(found, golden, strict=True)):
        assert close(one, other), f"step {t}"


def placed(name, agents, landmarks, goals=(), said=None, **parameters):
    """One world with everything there, at rest, and a step without actions."""
    world = make(name, integration="explicit", **parameters)
    at = np.array([agents], np.float32)
    places, chosen = np.array([landmarks], np.float32), np.array([goals], np.float32)
    world.set_state(at, 0 * at, places, goals=chosen)
    actions = {
        g: np.zeros((1, len(group), *group.action_space.shape), np.float32)
        for g, group in world.groups.items()
    }
    if said is not None:
        actions |= {g: np.array([[row]], np.float32) for g, row in said.items()}
    return world, world.step(actions)


def metrics(step):
    return {name: float(values[0]) for name, values in step.metrics.items()}


def test_adversary_by_hand():
    """The adversary 0.5 from the goal (landmark 1), the good agents 0.05 and 1 away."""
    agents, landmarks = [(0.5, 0.0), (0.0, 0.05), (0.0, 1.0)], [(0.9, 0.9), (0.0, 0.0)]
    world, step = placed("adversary", agents, landmarks, [1])
    assert step.reward["adversaries"] == pytest.approx(np.array([[-0.5]]))
    assert step.reward["good"] == pytest.approx(np.array([[0.45, 0.45]]))
    expected = {"good_reached": 1, "adversary_reached": 0}
    expected |= {"good_distance": 0.05, "adversary_distance": 0.5}
    assert metrics(step) == pytest.approx(expected)
    colours = world.scene().colours
    assert colours[4].tolist() != colours[3].tolist()  # the goal can be told from the other


def test_two_adversaries_are_both_kept_away():
    agents, landmarks = [(0.5, 0.0), (-0.2, 0.0), (0.0, 0.1)], [(0.0, 0.0)]
    _, step = placed("adversary", agents, landmarks, [0], num_adversaries=2, num_good=1)
    assert step.reward["good"] == pytest.approx(np.array([[0.5 + 0.2 - 0.1]]))


def test_crypto_by_hand():
    """The secret is the second one; Bob says it with half his voice, Eve says the first one."""
    said = {"eve": [1, -1, -1, -1], "bob": [-1, 0, -1, -1], "alice": [-1, -1, -1, -1]}
    agents, landmarks = [(0, 0)] * 3, [(0, 0)] * 2
    world, step = placed("crypto", agents, landmarks, [1, 0], said)
    assert step.reward["eve"] == pytest.approx(np.array([[-2.0]]))  # (1 - 0)^2 + (0 - 1)^2
    assert step.reward["bob"] == pytest.approx(np.array([[2.0 - 0.25]]))
    assert step.reward["alice"] == pytest.approx(np.array([[1.75]]))
    assert metrics(step) == {"bob_right": 1, "eve_right": 0}
    assert step.observation["alice"].tolist() == [[[0, 1, 0, 0, 1, 0, 0, 0]]]
    assert step.observation["bob"].tolist() == [[[1, 0, 0, 0, 0, 0, 0, 0]]]
    assert step.observation["eve"].tolist() == [[[0, 0, 0, 0]]]  # Alice is silent
    assert world.scene().caption.endswith("eve_0: A   bob_0: B")


def test_touches_count_for_every_hunter_and_cost_the_prey():
    """Two predators on the first prey, none on the second, which has left the square."""
    agents = [(0.0, 0.0), (0.1, 0.0), (-0.9, 0.9), (0.05, 0.0), (0.95, -1.5)]
    _, step = placed("tag", agents, [(0.5, 0.5)] * 2, num_good=2)
    assert step.metrics["touches"].tolist() == [2.0]
    assert step.reward["adversaries"] == pytest.approx(np.array([[20.0, 20.0, 20.0]]))
    expected = [-20.0, -(0.05 * 10 + np.exp(2 * 1.5 - 2))]
    assert step.reward["good"] == pytest.approx(np.array([expected]), abs=1e-4)


def test_forests_hide():
    """The second good agent is in the forest: the predator does not see it, the leader does."""
    agents = [(0.0, 0.0), (0.1, -0.5), (0.0, -0.9), (0.7, 0.7)]
    landmarks = [(-0.8, 0.8), (0.7, 0.7)]  # food, forest
    parameters = {"num_good": 2, "num_adversaries": 2, "num_obstacles": 0}
    _, step = placed("world_comm", agents, landmarks, num_food=1, num_forests=1, **parameters)
    leader, predator = step.observation["leader"][0, 0], step.observation["adversaries"][0, 0]
    assert leader[8 + 4 : 8 + 6] == pytest.approx([0.7, 0.7])
    assert predator[8 + 4 : 8 + 6].tolist() == [0.0, 0.0]
    assert predator[8 + 2 : 8 + 4] == pytest.approx([-0.1, -0.4])  # the other is in the open
    hidden = step.observation["good"][0, 1]
    assert hidden[8 : 8 + 6].tolist() == [0.0] * 6  # and sees nobody, either
    assert hidden[8 + 6] == 1.0


def test_speakers_stay_where_they_are():
    world = make("speaker_listener", num_pairs=2)
    world.reset()
    there = np.zeros((1, 4, 2)) + [[[0.1, 0], [0.2, 0], [0.3, 0], [0.4, 0]]]
    world.set_state(there, np.ones((1, 4, 2)), np.zeros((1, 3, 2)))
    groups = world.groups
    rng = np.random.default_rng(0)
    world.step({g: groups[g].random_actions(rng, 1, 2) for g in groups})
    moved = np.abs(world.positions()[0] - there).max(-1) > 1e-3
    assert moved.tolist() == [[False, False, True, True]]


def test_a_changed_copy_is_another_scenario():
    """Nothing that was derived from the old values is left in it."""
    tag = SCENARIOS["tag"](num_good=1)
    assert len(tag.groups["good"]) == 1
    more = tag.model_copy(update={"num_good": 2})
    assert len(more.groups["good"]) == 2
    assert more.packed != tag.packed


def test_a_caption_has_room_for_a_few_speakers_only():
    world = make("reference", num_agents=40)
    world.reset()
    rng = np.random.default_rng(0)
    world.step({"agents": world.groups["agents"].random_actions(rng, 1, 40)})
    assert world.scene().caption == "40 agents   step 1   40 speak"


def test_goals_are_all_drawn_and_known_to_those_who_may():
    world = make("adversary", num_worlds=200, seed=0, num_good=3)
    seen = world.reset()["good"]
    goals = world.goals()[:, 0].astype(int)
    assert set(goals) == {0, 1, 2}
    landmarks = seen[:, 0, 2 : 2 + 6].reshape(200, 3, 2)
    np.testing.assert_array_equal(seen[:, 0, :2], landmarks[np.arange(200), goals])


def test_discrete_moves_push_as_forces_do():
    """Stay, left, right, down, up."""
    forces = [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)]
    worlds = [make("simple", num_worlds=5, seed=3, actions=a) for a in ("discrete", "continuous")]
    for world in worlds:
        world.reset()
    worlds[0].step({"agents": np.eye(5, dtype=np.float32)[:, None]})
    worlds[1].step({"agents": np.array(forces, np.float32)[:, None]})
    assert worlds[0].velocities().tolist() == worlds[1].velocities().tolist()
    assert np.unique(worlds[0].velocities(), axis=0).shape == (5, 1, 2)


def test_cells_and_lanes_agree_with_roles_goals_and_messages():
    for name in ("tag", "reference"):
        worlds = [
            ParticleWorld(SCENARIOS[name](), 2, seed=4, search=search)
            for search in ("lanes", "cells")
        ]
        rng = np.random.default_rng(0)
        for world in worlds:
            world.reset()
        for _ in range(5):
            groups = worlds[0].groups
            does = {g: groups[g].random_actions(rng, 2, len(groups[g])) for g in groups}
            one, other = (world.step(does) for world in worlds)
            for g in groups:
                assert one.observation[g].tobytes() == other.observation[g].tobytes()
                assert one.reward[g].tobytes() == other.reward[g].tobytes()


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({name: trajectory(name) for name in MORE}) + "\n")
