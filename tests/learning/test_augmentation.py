"""Symmetries of observations and actions belong together; random views hide what they should."""

import numpy as np
import pytest
import torch

from marl.config.parsing import parse_config
from marl.learning.augmentation import RandomViews, Symmetry
from marl.testing.check_agent import check_agent
from marl.worlds.particles.scenarios.spread import Spread
from marl.worlds.particles.world import ParticleWorld
from marl.worlds.spaces import Part

ELEMENTS = 8
PARTS = (
    Part("self", vectors=1),
    Part("agents", 3, vectors=1, scalars=1, masked=True),
    Part("landmarks", 4, vectors=1, scalars=1, masked=True),
)


def turned(places):
    """Plane vectors [n, 2] under each of the symmetries: [8, n, 2]."""
    symmetry = Symmetry((Part("force", vectors=1),))
    rows = torch.from_numpy(places).float().expand(ELEMENTS, -1, 2)
    return symmetry(rows).numpy()


def test_they_are_the_eight_symmetries_of_the_square():
    matrices = turned(np.eye(2))
    assert len({matrix.tobytes() for matrix in matrices}) == ELEMENTS
    for matrix in matrices:
        np.testing.assert_array_equal(matrix @ matrix.T, np.eye(2))
    assert (matrices[0] == np.eye(2)).all()
    assert sorted(np.linalg.det(matrices).round().tolist()) == [-1] * 4 + [1] * 4


def test_each_has_an_inverse_among_them():
    matrices = turned(np.eye(2))
    for matrix in matrices:
        assert sum(np.array_equal(matrix @ other, np.eye(2)) for other in matrices) == 1


@pytest.mark.parametrize("moves", ["continuous", "discrete"])
def test_a_turned_world_looks_like_a_turned_observation_and_moves_alike(moves):
    """Eight worlds, each turned by one symmetry: what agents see there is what the symmetry makes
    of the observation, before and after a step with turned actions."""
    rng = np.random.default_rng(0)
    agents, velocities, landmarks, actions = (
        rng.uniform(-size, size, (n, 2)) for n, size in [(4, 0.3), (4, 0.5), (3, 1.0), (4, 1.0)]
    )
    world = ParticleWorld(Spread(num_agents=4, num_landmarks=3, actions=moves), ELEMENTS, seed=0)
    seen = [world.set_state(turned(agents), turned(velocities), turned(landmarks))["agents"]]
    actions = turned(actions)
    if moves == "discrete":
        each = torch.eye(5)[[1, 2, 3, 4]].expand(ELEMENTS, -1, -1)
        actions = Symmetry(world.groups["agents"].action_parts)(each).numpy()
    step = world.step({"agents": actions})
    seen.append(step.observation["agents"])
    assert step.metrics["collisions"].min() > 0
    symmetry = Symmetry(world.groups["agents"].observation_parts)
    for rows in seen:
        for i in range(4):
            original = torch.from_numpy(rows[0, i]).expand(ELEMENTS, 1, -1)
            np.testing.assert_allclose(symmetry(original)[:, 0], rows[:, i], atol=1e-5)
    np.testing.assert_allclose(step.reward["agents"], step.reward["agents"][:1].repeat(8, 0), 1e-5)


def test_letters_stay_and_choices_that_lead_alike_keep_their_order():
    ways = ((0, 0), (1, 0), (1, 0), (0, 0), (-1, 0), (-1, 0), (0, 1), (0, 1), (0, -1), (0, -1))
    symmetry = Symmetry((Part("move", scalars=10, choice=True, directions=ways),))
    turned = symmetry(torch.eye(10).expand(ELEMENTS, -1, -1)).argmax(-1)
    assert turned[:, [0, 3]].tolist() == [[0, 3]] * ELEMENTS
    assert {tuple(row.tolist()) for row in turned[:, [1, 2]]} == {(1, 2), (4, 5), (6, 7), (8, 9)}
    assert all(sorted(row.tolist()) == list(range(10)) for row in turned)


@pytest.mark.parametrize(
    "agent", [{"name": "maddpg"}, {"name": "atoc"}, {"name": "isac"}, {"name": "masac"},
              {"name": "ippo"}, {"name": "qmix"}],
)  # fmt: skip
def test_every_family_turns_choices(agent):
    config = parse_config(
        {"world": {"actions": "discrete"}, "agent": {**agent, "hidden": [8], "augment": True}}
    )
    groups = config.world.groups
    check_agent(lambda: config.make_agent(groups, 0), groups)


def test_directions_that_do_not_turn_into_each_other_are_refused():
    lane = Part("move", scalars=2, choice=True, directions=((0, 0), (1, 0)))
    with pytest.raises(ValueError, match=r"there is no choice that leads to \(0, 1\)"):
        Symmetry((lane,))


def test_only_vectors_are_changed_and_rows_take_turns():
    parts = (Part("clock", scalars=2), Part("items", 2, vectors=2, scalars=1))
    rows = torch.arange(1.0, 13.0).expand(19, -1)
    result = Symmetry(parts)(rows[:, None])[:, 0]
    scalars = [0, 1, 6, 11]
    torch.testing.assert_close(result[:, scalars], rows[:, scalars])
    torch.testing.assert_close(result[8:16], result[:8])
    torch.testing.assert_close(result[16:], result[:3])
    turned_pair = {tuple(row.tolist()) for row in result[:8, 2:4]}
    assert turned_pair == {(a, b) for x, y in [(3, 4), (4, 3)] for a in (x, -x) for b in (y, -y)}


def shown_counts(views, rows=4000):
    """How many agents and landmarks each row shows; every one before those that are hidden."""
    mask = views.mask(views.draw((rows,), torch.Generator().manual_seed(0)))
    assert (mask[:, :2] == 1).all()
    counts = []
    for start, count in [(2, 3), (11, 4)]:
        items = mask[:, start : start + 3 * count].view(rows, count, 3)
        assert (items == items[..., :1]).all()
        assert (items[:, 1:, 0] <= items[:, :-1, 0]).all()
        counts.append(items[..., 0].sum(1).int())
    return counts


def test_random_views_keep_between_least_and_all():
    agents, landmarks = shown_counts(RandomViews(PARTS, {"landmarks": 2, "agents": 0}))
    for counts, expected in [(agents, [0, 1, 2, 3]), (landmarks, [2, 3, 4])]:
        values, frequency = counts.unique(return_counts=True)
        assert values.tolist() == expected
        assert (frequency / len(counts) - 1 / len(expected)).abs().max() < 0.05
    assert np.corrcoef(agents, landmarks)[0, 1] > 0.9  # a view is narrow or wide as a whole


def test_parts_that_are_not_named_are_shown_whole():
    agents, landmarks = shown_counts(RandomViews(PARTS, {"agents": 1}))
    assert set(agents.tolist()) == {1, 2, 3}
    assert (landmarks == 4).all()


def test_least_may_be_all_there_is_or_more():
    agents, landmarks = shown_counts(RandomViews(PARTS, {"agents": 3, "landmarks": 10}))
    assert (agents == 3).all()
    assert (landmarks == 4).all()


@pytest.mark.parametrize("name", ["agent", "self"])
def test_parts_that_cannot_be_hidden_are_refused(name):
    with pytest.raises(ValueError, match=f"{name!r}; the parts that can be hidden are: agents, la"):
        RandomViews(PARTS, {name: 1})
