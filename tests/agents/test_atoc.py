"""ATOC with communication: groups on known layouts, the channel against a loop over groups, and the
memory of an episode. (How it learns: test_atoc_learning.py.)"""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from agents.atoc_agents import (
    SMALL,
    TEAM,
    acted,
    agent_of,
    batch_of,
    one_by_one,
    random_groups,
    torch_lstm,
)
from agents.probes import EVERYTHING, PLANE
from tiny import TINY, check_resumes

from marl.agents.atoc import Actor, ATOCConfig, _side_by_side, choose_groups, rounds_of
from marl.agents.core.base import Needs, View
from marl.config.parsing import parse_config, with_settings
from marl.nn.layers import StackedLSTM
from marl.rollout import collect
from marl.testing.check_agent import check_agent
from marl.testing.probes import group_of
from marl.worlds.base import Neighbours
from marl.worlds.particles.scenarios.spread import Spread
from marl.worlds.particles.world import ParticleWorld


def in_force(agent):
    """The groups that the last action was based on."""
    return agent.recorded()["in_force"]["g"]


def looks_of(worlds, n, seed=0, size=3):
    return {"g": np.random.default_rng(seed).normal(size=(worlds, n, size)).astype("f4")}


def ring(worlds, n, count):
    """Neighbours by number: the next ones."""
    near = (np.arange(n)[:, None] + 1 + np.arange(count)) % n
    near[:, n - 1 :] = -1
    return {"g": Neighbours(np.tile(near, (worlds, 1, 1)), np.zeros((worlds, n, 0), int))}


def acting(agent, looks, explore, near):
    return agent.act(agent.perceive(View(looks, neighbours=near)), explore)


# ------------------------------------------------------------------------------------------ groups


def chosen(initiators, neighbours, collaborators=2):
    """{initiator: members}, in one world."""
    n = len(neighbours)
    begin = np.isin(np.arange(n), initiators)[None]
    groups = choose_groups(begin, np.array(neighbours)[None], collaborators)
    assert groups.shape == (1, n, 1 + collaborators)
    return {i: row.tolist() for i, row in enumerate(groups[0]) if (row >= 0).any()}


LINE = [[1, 2, 3], [0, 2, 3], [1, 3, 0], [2, 4, 1], [3, 2, 1]]  # five agents side by side


def test_the_nearest_are_chosen_and_the_initiator_comes_first():
    assert chosen([2], LINE) == {2: [2, 1, 3]}
    assert chosen([], LINE) == {}


def test_those_whom_nobody_chose_yet_are_preferred():
    """0 takes 1 and 2; 4 then passes over 2 for 1... which is taken as well: 3, then the nearer."""
    assert chosen([0, 4], LINE) == {0: [0, 1, 2], 4: [4, 3, 2]}
    near = [[1, 2, 3], [0, 2, 3], [0, 1, 3], [1, 2, 0], [1, 2, 3]]
    assert chosen([0, 4], near) == {0: [0, 1, 2], 4: [4, 1, 3]}  # 3 first, then 1: nearness orders


def test_those_whom_others_chose_come_before_initiators():
    near = [[1, 2, -1], [0, 2, -1], [0, 1, -1], [0, 1, 2]]
    assert chosen([0, 3], near, 1) == {0: [0, 1], 3: [3, 2]}  # 0 initiates, 1 is chosen
    near[3] = [0, 1, -1]
    assert chosen([0, 3], near, 1) == {0: [0, 1], 3: [3, 1]}
    near[3] = [0, -1, -1]
    assert chosen([0, 3], near, 1) == {0: [0, 1], 3: [3, 0]}


def test_an_earlier_initiators_choice_counts_and_a_later_ones_does_not():
    near = [[1, 2, -1], [0, 2, 3], [3, 1, -1], [2, 1, -1]]
    assert chosen([0, 2], near, 1) == {0: [0, 1], 2: [2, 3]}
    assert chosen([0, 1], near, 1) == {0: [0, 2], 1: [1, 3]}  # 2 is nearer, but chosen by 0


def test_fewer_neighbours_make_smaller_groups_and_nobody_speaks_alone():
    near = [[1, -1, -1], [0, -1, -1], [-1, -1, -1]]
    assert chosen([0, 1, 2], near) == {0: [0, 1, -1], 1: [1, 0, -1]}
    assert chosen([0], [[-1, -1, -1]]) == {}


def test_worlds_do_not_matter_to_each_other():
    rng = np.random.default_rng(0)
    near = np.argsort(rng.random((6, 9, 9)) + 9 * np.eye(9), -1)[:, :, :4]
    begin = rng.random((6, 9)) < 0.5
    groups = choose_groups(begin, near, 2)
    for e in range(6):
        alone = choose_groups(begin[e : e + 1], near[e : e + 1], 2)
        assert np.array_equal(alone[0], groups[e])
        assert np.array_equal(groups[e, :, 0] >= 0, begin[e])


# ----------------------------------------------------------------------------------------- channel


@pytest.mark.parametrize("stack", [1, 3])
def test_the_lstm_is_torchs(stack):
    torch.manual_seed(0)
    channel, x = StackedLSTM(stack, 6, 8), torch.randn(stack, 5, 4, 6)
    lengths = torch.tensor([1, 2, 3, 4, 4])
    there = (torch.arange(4) < lengths[:, None]).float().expand(stack, -1, -1)[..., None]
    found = channel(x, there)
    for k, b in itertools.product(range(stack), range(5)):
        n = lengths[b]
        expected = torch_lstm(channel, k)(x[k, b, None, :n])[0][0]
        torch.testing.assert_close(found[k, b, :n], expected)
        assert (found[k, b, n:] == 0).all()


@pytest.mark.parametrize(("n", "share"), [(4, 1.0), (4, 0.4), (60, 1.0), (60, 0.3), (6, 0.0)])
def test_rounds_are_the_same_as_one_group_after_another(n, share):
    """In one network for all worlds, and in a network for each."""
    torch.manual_seed(0)
    groups = random_groups(np.random.default_rng(n), 3, n, share)
    thoughts = torch.randn(3, n, 6)
    shared = Actor(1, 3, 2, ATOCConfig(**SMALL))
    rounds = rounds_of(_side_by_side(groups))
    found = shared.communicate(thoughts.view(1, 3 * n, 6), rounds).view(3, n, 6)
    each = Actor(3, 3, 2, ATOCConfig(**SMALL))
    apart = each.communicate(thoughts, rounds_of(groups))
    for e in range(3):
        expected = one_by_one(shared.channel, thoughts[e], groups[e])
        torch.testing.assert_close(found[e], expected, rtol=1e-4, atol=1e-6)
        expected = one_by_one(each.channel, thoughts[e], groups[e], k=e)
        torch.testing.assert_close(apart[e], expected, rtol=1e-4, atol=1e-6)


def test_rounds_are_few_and_their_groups_share_nobody():
    groups = _side_by_side(random_groups(np.random.default_rng(0), 2, 500, share=1.0))
    rounds = rounds_of(groups)
    assert len(rounds) < 60
    seen = []
    for members in rounds:
        people = members[members < 1000]
        assert len(people) == len(set(people.tolist()))
        seen += members[0, :, 0].tolist()
    assert sorted(seen) == list(range(1000))
    # some do share members, so that the order matters
    torch.manual_seed(0)
    actor, thoughts = Actor(1, 3, 2, ATOCConfig(**SMALL)), torch.randn(1, 1000, 6)
    there, back = (actor.communicate(thoughts, order) for order in (rounds, rounds[::-1]))
    assert (there - back).abs().max() > 0.01


def test_the_gradient_of_one_members_action_reaches_anothers_thought():
    """And nobody's outside of the group."""
    agent = agent_of(communication="forced")
    actor, thought = agent.learners["g"].actor, torch.randn(1, 5, 6, requires_grad=True)
    groups = np.full((1, 5, 4), -1)
    groups[0, 1] = [1, 3, 4, -1]
    action = actor.decide(thought, actor.communicate(thought, rounds_of(groups)))
    for i, whose in enumerate(([0], [1, 3, 4], [2], [1, 3, 4], [1, 3, 4])):
        (gradient,) = torch.autograd.grad(action[0, i].sum(), thought, retain_graph=True)
        assert np.flatnonzero(gradient[0].abs().sum(-1)).tolist() == whose


# --------------------------------------------------------------------------------- communication


def test_off_is_a_zero_integrated_thought():
    agent, silent = agent_of(communication="forced"), agent_of(communication="off")
    looks = looks_of(2, 5)
    assert silent.needs == Needs()
    assert "in_force" not in silent.columns(TEAM)["g"]
    assert not np.array_equal(
        acting(agent, looks, False, ring(2, 5, 3))["g"], silent.act(looks)["g"]
    )
    actor = agent.learners["g"].actor
    thought = actor.think(torch.from_numpy(looks["g"]).view(1, 10, 3))
    expected = actor.decide(thought, torch.zeros(1, 10, 6)).tanh().view(2, 5, 2)
    assert np.array_equal(silent.act(looks)["g"], expected.detach())
    assert silent.recorded() == {}
    result = silent.update(batch_of(silent, groups=False))
    assert not {"delta_q", "initiators", "attention_loss"} & set(result)


def test_forced_all_initiate():
    agent = agent_of(communication="forced")
    assert agent.needs.neighbours == (3, 0)
    acting(agent, looks_of(2, 5), False, ring(2, 5, 3))
    assert (in_force(agent) == [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 0], [3, 4, 0, 1],
                                  [4, 0, 1, 2]]).all()  # fmt: skip
    batch = batch_of(agent)
    everywhere = np.resize(in_force(agent), (7, 5, 4)).astype(np.int32)
    batch["g"] = replace(batch["g"], added={"in_force": torch.from_numpy(everywhere)})
    result = agent.update(batch)
    assert float(result["initiators"]) == 1
    assert "delta_q" in result
    assert "attention_loss" not in result


def test_without_neighbours_no_groups_are_formed():
    agent, silent = agent_of(communication="forced"), agent_of(communication="off")
    looks = looks_of(2, 5)
    assert np.array_equal(agent.act(looks)["g"], silent.act(looks)["g"])
    assert in_force(agent).shape == (2, 5, 4)
    assert (in_force(agent) == -1).all()


def set_attention(agent, bias):
    with torch.no_grad():
        agent.learners["g"].attention.output.bias.fill_(bias)
    return agent


def test_a_probability_above_a_half_initiates_and_exploring_tosses_coins():
    looks, near = looks_of(400, 5), ring(400, 5, 3)
    for bias, greedy, explored in ((3.0, 1.0, 0.8), (-3.0, 0.0, 0.2)):
        for explore, expected in ((False, greedy), (True, explored)):
            agent = set_attention(agent_of(epsilon=0.4), bias)
            acting(agent, looks, explore, near)
            share = (in_force(agent)[..., 0] >= 0).mean()
            assert share == pytest.approx(expected, abs=0 if expected in (0, 1) else 0.04)


def test_groups_last_a_period_and_every_world_has_its_clock():
    agent = agent_of(communication="forced", period=4)
    looks = looks_of(3, 5)
    agent.reset()
    began = np.zeros(3, int)
    groups = np.full((3, 5, 4), -1)
    for t in range(20):
        if t in (2, 7):
            mask = np.array([False, t == 2, True])
            agent.reset(mask)
            began[mask] = t
            assert (in_force(agent)[mask] == -1).all()
        near = np.roll(ring(3, 5, 4)["g"].agents, t, axis=2)[..., :3]
        acting(agent, looks, False, {"g": Neighbours(near, near)})
        due = (t - began) % 4 == 0
        groups[due] = choose_groups(np.ones((3, 5), bool), near, 3)[due]
        assert np.array_equal(in_force(agent), groups), t
    agent.reset()
    acting(agent, looks, False, ring(3, 5, 3))
    assert (in_force(agent)[:, 0] == [0, 1, 2, 3]).all()


def test_what_was_kept_does_not_change_later():
    agent = agent_of(communication="forced", period=1)
    acting(agent, looks_of(3, 5), False, ring(3, 5, 3))
    kept = in_force(agent)
    before = kept.copy()
    others = ring(3, 5, 4)["g"].agents[..., 1:]
    acting(agent, looks_of(3, 5), False, {"g": Neighbours(others, others)})
    agent.reset(np.array([True, False, False]))
    assert np.array_equal(kept, before)
    assert not np.array_equal(in_force(agent), before)


def test_parameter_noise_disturbs_the_channel_too():
    """And is another one in every world."""
    agent = agent_of(kind="psne", communication="forced")
    looks = {"g": np.tile(looks_of(1, 5)["g"], (3, 1, 1))}
    explored = acting(agent, looks, True, ring(3, 5, 3))["g"]
    assert not np.array_equal(explored[0], explored[1])
    copies = agent.noise["g"].copies
    assert not torch.equal(copies.channel.forth.weight[0], copies.channel.forth.weight[1])
    again = acting(agent, looks, True, ring(3, 5, 3))["g"]
    assert np.array_equal(explored, again)
    for e in range(3):  # each world by hand, with its own copy
        state = {f"copy.{k}": v[e : e + 1] for k, v in copies.state_dict().items()}
        _, expected, _ = acted(state, "copy", looks["g"][e], in_force(agent)[e])
        np.testing.assert_allclose(explored[e], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("communication", "kind", "period"),
    [
        ("attention", "gaussian", 15), ("attention", "ou", 2), ("attention", "psne", 2),
        ("forced", "psne", 15), ("off", "psne", 2),
    ],
)  # fmt: skip
def test_check_agent(communication, kind, period):
    groups = {"trio": group_of(3, 3, 2), "one": group_of(1, 2, 1)}
    settings = {"communication": communication, "period": period, "gradient_clip": 0.5}
    check_agent(lambda: agent_of(groups, kind=kind, **settings), groups)


@pytest.mark.parametrize("kind", ["gaussian", "psne"])
def test_check_agent_with_every_option(kind, monkeypatch):
    monkeypatch.setattr("marl.agents.core.learner.ADAPT_EVERY", 2)
    check_agent(lambda: agent_of(PLANE, kind=kind, **EVERYTHING), PLANE)


@pytest.mark.parametrize("n", [1, 80, 1000])
def test_weights_from_four_agents_act_for_any_number(n):
    small = ParticleWorld(Spread(num_agents=4), 2, seed=0)
    large = ParticleWorld(Spread(num_agents=n), 2, seed=0)
    agent, other = (agent_of(w.groups, communication="forced") for w in (small, large))
    for turn in itertools.islice(collect(small, agent, explore=True), 3):
        memory = turn.transition
    assert memory.added["in_force"]["agents"].shape == (2, 4, 4)
    other.load_weights(agent.weights())
    actions = next(collect(large, other)).transition.action["agents"]
    assert actions.shape == (2, n, 2)
    assert np.isfinite(actions).all()
    assert (other.recorded()["in_force"]["agents"][..., 0] >= 0).mean() == (n > 1)


# ------------------------------------------------------------------------------ memory and training


@pytest.mark.parametrize("kind", ["ou", "psne"])
def test_stopped_and_resumed_ends_as_uninterrupted(data, monkeypatch, kind):
    """In the middle of an episode and of a period."""
    settings = ["agent.name=atoc_comm", "agent.period=3", f"exploration.kind={kind}"]
    plain = {**TINY, "agent": {"hidden": [8]}}
    config = parse_config(with_settings(plain, [*settings, "training.steps=240"]))
    check_resumes(config, monkeypatch, 160 + 4)
