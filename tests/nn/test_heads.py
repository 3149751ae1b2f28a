"""Numbers and choices: what actors say becomes what agents do; a choice that has to be learned."""

import numpy as np
import pytest
import torch
from agents import probes
from agents.probes import EVERYTHING, learn
from gymnasium.spaces import Box

from marl.agents.atoc import ATOC, ATOCConfig
from marl.agents.core.seed_stack import SeedStack
from marl.agents.ddpg import DDPG, FAMILY, DDPGConfig
from marl.learning.exploration import ExplorationConfig
from marl.nn.heads import ActionHead, JointChoices
from marl.testing.check_agent import check_agent
from marl.testing.probes import Probe, group_of
from marl.worlds.spaces import Group, Part

MIXED = Group(
    ("a", "b"),
    Box(-np.inf, np.inf, (3,), np.float32),
    Box(np.float32([-1, -1, 0, 0, 0, -1]), np.float32([1] * 6), dtype=np.float32),
    (),
    (
        Part("force", vectors=1),
        Part("letter", scalars=3, choice=True),
        Part("volume", scalars=1),
    ),
)
OUTPUT = torch.tensor([[0.3, -2.0, 0.1, 1.2, -0.4, 0.5], [5.0, 0.0, 3.0, 0.0, 0.0, -1.0]])


def test_the_largest_output_is_chosen_and_numbers_are_squashed():
    done = ActionHead(MIXED)(OUTPUT)
    assert done[:, 2:5].tolist() == [[0, 1, 0], [1, 0, 0]]
    assert torch.equal(done[:, [0, 1, 5]], OUTPUT[:, [0, 1, 5]].tanh())


def test_choices_are_drawn_by_the_softmax():
    rows = OUTPUT[:1].expand(40_000, -1)
    done = ActionHead(MIXED)(rows, torch.Generator().manual_seed(0))
    assert set(done[:, 2:5].unique().tolist()) == {0.0, 1.0}
    assert (done[:, 2:5].sum(1) == 1).all()
    share = OUTPUT[0, 2:5].softmax(0)
    np.testing.assert_allclose(done[:, 2:5].mean(0), share, atol=0.01)


def test_saturated_are_numbers_at_their_bounds_and_choices_that_are_sure():
    head, sure = ActionHead(MIXED), OUTPUT.clone()
    sure[1, 2] = 6.0  # 0.995 of the softmax
    assert head.saturated(OUTPUT).tolist() == [[0, 0, 0, 0], [1, 0, 0, 0]]
    assert head.saturated(sure).tolist() == [[0, 0, 0, 0], [1, 0, 0, 1]]


def test_gradients_are_those_of_the_softmax():
    output = OUTPUT.clone().requires_grad_()
    weights = torch.tensor([[1.0, 2.0, 3.0, 5.0, 7.0, 11.0]])
    (ActionHead(MIXED)(output) * weights).sum().backward()
    expected = OUTPUT.clone().requires_grad_()
    soft = torch.cat(
        [expected[:, :2].tanh(), expected[:, 2:5].softmax(1), expected[:, 5:].tanh()], 1
    )
    (soft * weights).sum().backward()
    torch.testing.assert_close(output.grad, expected.grad)


def test_several_choices_in_one_part_are_chosen_one_by_one():
    part = Part("letters", 2, scalars=2, choice=True)
    group = Group(("a",), MIXED.observation_space, Box(0, 1, (4,), np.float32), (), (part,))
    assert ActionHead(group)(torch.tensor([1.0, 2.0, 4.0, 3.0])).tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("settings", [{}, EVERYTHING | {"augment": False}], ids=["bare", "all"])
def test_check_agent(name, settings):
    groups = {"mixed": MIXED, "others": probes.group_of(2, 3, 2)}

    def make(seed=0):
        config = DDPGConfig(name=name, hidden=(8,), **settings)
        return DDPG(groups, config, ExplorationConfig(), seed)

    check_agent(make, groups)


def test_an_agent_that_does_not_choose_is_found_out():
    class Undecided(DDPG):
        def act(self, observation, explore=False):
            return {g: 0.9 * rows for g, rows in super().act(observation, explore).items()}

    groups = {"mixed": MIXED}
    with pytest.raises(AssertionError, match=r"must choose: be 1\.0 in one place of 2 to 4"):
        check_agent(lambda: Undecided(groups, DDPGConfig(hidden=(8,))), groups)


def told(rng, time):
    """One of three letters for every agent, one-hot."""
    return {"team": np.eye(3)[rng.integers(3, size=(probes.WORLDS, 2))]}


def right(time, seen, actions):
    return {"team": (seen["team"] * actions["team"]).sum(-1)}


@pytest.mark.parametrize("name", ["ddpg", "atoc", "maddpg"])
def test_agents_learn_to_say_what_they_see(name):
    world = Probe({"team": (2, 3, 3)}, right, told)
    world.groups = {
        "team": Group(
            ("a", "b"),
            MIXED.observation_space,
            Box(0.0, 1.0, (3,), np.float32),
            (),
            (Part("letter", scalars=3, choice=True),),
        )
    }
    agent, _ = learn(world, updates=400, name=name, action_penalty=1e-3)
    agent.reset()
    seen = np.tile(np.eye(3, dtype=np.float32)[:, None], (1, 2, 1))
    assert agent.act({"team": seen})["team"].tolist() == seen.tolist()


def test_what_cannot_choose_says_so():
    groups = {"mixed": MIXED}
    with pytest.raises(ValueError, match=r"exploration\.kind is 'psne'"):
        DDPG(groups, DDPGConfig(hidden=(8,)), ExplorationConfig(kind="psne"))
    with pytest.raises(ValueError, match=r"agent\.augment is on, but the world does not say where"):
        DDPG(groups, DDPGConfig(hidden=(8,), augment=True))
    with pytest.raises(ValueError, match=r"world\.actions can be 'continuous' only"):
        ATOC(groups, ATOCConfig(hidden=(8,)))
    agents = [DDPG(groups, DDPGConfig(hidden=(8,)), seed=seed) for seed in (0, 1)]
    with pytest.raises(ValueError, match="cannot be trained side by side"):
        SeedStack(agents)


SPEAKS = group_of(
    1,
    1,
    8,
    action_parts=(Part("move", scalars=5, choice=True), Part("say", scalars=3, choice=True)),
)


def test_joint_choices_are_all_combinations():
    choices = JointChoices(SPEAKS)
    assert len(choices) == 15
    assert torch.equal(choices.number(choices.table), torch.arange(15))
    assert torch.equal(choices.action(torch.tensor([[0, 14]])).sum(-1), torch.full((1, 2), 2.0))
    assert len({tuple(row.tolist()) for row in choices.table}) == 15
    assert int(choices.number(torch.zeros(8))) == 0
    legal = torch.tensor([1, 0, 1, 0, 0, 0, 1, 1], dtype=torch.bool)
    allowed = choices.table[choices.legal(legal)]
    assert len(allowed) == 4
    assert not (allowed.bool() & ~legal).any()
    assert choices.legal(None) is None


def test_joint_choices_of_numbers_are_refused():
    with pytest.raises(ValueError, match=r"choices only; world\.actions"):
        JointChoices(group_of(1, 1, 2))


def test_too_many_joint_choices_are_refused():
    many = tuple(Part(f"dial {i}", scalars=10, choice=True) for i in range(4))
    with pytest.raises(ValueError, match="one of 10000 joint choices, but at most 4096"):
        JointChoices(group_of(1, 1, 40, action_parts=many))
