"""ATOC with communication: groups on known layouts, the channel and one update against loops over
agents and groups, memory of an episode, and probes in which only a message helps."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from agents import probes
from agents.probes import EVERYTHING, PLANE, forward, layers_of
from tiny import TINY, check_resumes
from torch import nn

from marl.agents.atoc import ATOC, Actor, ATOCConfig, _side_by_side, choose_groups, rounds_of
from marl.agents.core.base import Needs, View
from marl.agents.ddpg import DDPG, DDPGConfig
from marl.config.parsing import parse_config, with_settings
from marl.learning.exploration import ExplorationConfig
from marl.learning.replay import Replay
from marl.nn.layers import StackedLSTM
from marl.rollout import collect
from marl.testing.check_agent import check_agent
from marl.testing.probes import Probe, group_of
from marl.worlds.base import Neighbours
from marl.worlds.particles.scenarios.spread import Spread
from marl.worlds.particles.world import ParticleWorld

TEAM = {"g": group_of(5, 3, 2)}
SMALL = {"hidden": (8,), "thought": 6}
PARTS = PLANE["team"].observation_parts, PLANE["team"].action_parts


def agent_of(groups=TEAM, seed=0, kind="gaussian", sigma=0.2, **settings):
    config = ATOCConfig(**SMALL | settings)
    return ATOC(groups, config, ExplorationConfig(kind=kind, sigma=sigma), seed)


def in_force(agent):
    """The groups that the last action was based on."""
    return agent.recorded()["in_force"]["g"]


def random_groups(rng, worlds, n, share=0.6, count=4, collaborators=3):
    """Groups among the nearest of n points."""
    place = rng.normal(size=(worlds, n, 2))
    distance = np.square(place[:, :, None] - place[:, None]).sum(-1)
    near = np.argsort(distance, -1)[:, :, 1 : 1 + count]
    missing = np.full((worlds, n, max(0, count - near.shape[2])), -1)
    near = np.concatenate([near, missing], -1)
    return choose_groups(rng.random((worlds, n)) < share, near, collaborators)


def batch_of(agent, rows=7, seed=0, groups=True):
    """Random steps, some agents of which communicate."""
    batch = probes.batch_of(agent.groups, rows, seed, draw="steps")
    for g, columns in [*batch.items()]:
        if groups:
            kept = random_groups(np.random.default_rng(seed), rows, len(agent.groups[g]))
            added = {"in_force": torch.from_numpy(kept.astype(np.int32))}
            batch[g] = replace(columns, added=added)
    return batch


def trained(agent, updates=4):
    """Targets lag behind by now, and actions and values are no longer near zero, so that mistaking
    one network for another shows."""
    for learner in agent.learners.values():
        nets = [learner.actor.second, learner.target_actor.second, learner.attention]
        for network in [*nets, *learner.critics, *learner.target_critics]:
            network.output.weight.data *= 100.0
    for seed in range(updates):
        agent.update(batch_of(agent, seed=10 + seed))
    return agent


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


def torch_lstm(channel, k=0):
    """PyTorch's own, with the weights of network k."""
    inputs, gates = channel.forth.weight.shape[1:]
    lstm = nn.LSTM(inputs, gates // 4, batch_first=True, bidirectional=True)
    for end, enter, again in (
        ("", channel.forth, channel.forth_again),
        ("_reverse", channel.back, channel.back_again),
    ):
        with torch.no_grad():
            getattr(lstm, f"weight_ih_l0{end}").copy_(enter.weight[k].T)
            getattr(lstm, f"weight_hh_l0{end}").copy_(again.weight[k].T)
            getattr(lstm, f"bias_ih_l0{end}").copy_(enter.bias[k, 0])
            getattr(lstm, f"bias_hh_l0{end}").zero_()
    return lstm


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


def one_by_one(channel, thoughts, groups, k=0):
    """Integrated thoughts of one world [N, H]: group after group, by the initiators' numbers."""
    lstm, thoughts = torch_lstm(channel, k), list(thoughts)
    heard = set()
    for row in groups:
        members = [int(j) for j in row if j >= 0]
        if members:
            answers = lstm(torch.stack([thoughts[j] for j in members])[None])[0][0]
            for j, answer in zip(members, answers, strict=True):
                thoughts[j] = answer
            heard |= set(members)
    zero = torch.zeros_like(thoughts[0])
    return torch.stack([x if j in heard else zero for j, x in enumerate(thoughts)])


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


# -------------------------------------------------------------------------------- one update


def lstm_of(state, prefix):
    channel = StackedLSTM(1, 6, 6)
    channel.load_state_dict({k: state[f"{prefix}.channel.{k}"] for k in channel.state_dict()})
    return channel


def acted(state, prefix, o, groups):
    """By hand: thoughts and actions of one world, with its groups and without any."""
    thoughts = o
    for weight, bias in layers_of(state, f"{prefix}.first."):
        thoughts = thoughts @ weight + bias
        thoughts = np.where(thoughts > 0, thoughts, 0.01 * thoughts)
    with torch.no_grad():
        integrated = one_by_one(lstm_of(state, prefix), torch.from_numpy(thoughts), groups).numpy()
    second = layers_of(state, f"{prefix}.second.")
    actions = [
        np.tanh(forward(second, np.concatenate([thoughts, z], 1)))
        for z in (integrated, np.zeros_like(integrated))
    ]
    return thoughts, *actions


def q(state, prefix, o, a):
    return forward(layers_of(state, f"{prefix}."), np.concatenate([o, a], 1))[:, 0]


@pytest.mark.parametrize("twin", [False, True])
def test_one_update_is_the_one_computed_by_hand(twin):
    """Loops over worlds, agents and groups; only the LSTM is PyTorch's."""
    agent = trained(agent_of(tau=0.1, actor_lr=0.02, critic_lr=0.05, twin_critics=twin))
    batch = batch_of(agent)
    before = agent.state_dict()
    result = agent.update(batch)
    after = agent.state_dict()

    critic_errors, values, gains, logits, untalked = [], [], [], [], []
    columns = [column["g"].numpy() for column in probes.columns_of(batch)]
    columns.append(batch["g"].added["in_force"].numpy())
    for o, a, r, o2, terminated, groups in zip(*columns, strict=True):
        _, a2, _ = acted(before, "g.target_actor", o2, groups)
        futures = [q(before, f"g.target_critics.{k}", o2, a2) for k in range(1 + twin)]
        y = r + 0.9 * (1 - terminated) * np.min(futures, 0)
        critic_errors.append([q(before, f"g.critics.{k}", o, a) - y for k in range(1 + twin)])
        # the rest is judged by the critic after its step
        thoughts, own, silent = acted(before, "g.actor", o, groups)
        values.append(q(after, "g.critics.0", o, own))
        gain = values[-1] - q(after, "g.critics.0", o, silent)
        untalked += [gain[j] for j in range(5) if j not in groups]
        for i, members in enumerate(groups):
            if members[0] >= 0:
                assert members[0] == i
                gains.append(np.mean([gain[j] for j in members if j >= 0]))
                logits.append(forward(layers_of(before, "g.attention."), thoughts[i : i + 1])[0, 0])
    gains, p = np.array(gains), 1 / (1 + np.exp(-np.array(logits)))
    aim = (gains - gains.min()) / (gains.max() - gains.min())
    attention_loss = -np.mean(aim * np.log(p) + (1 - aim) * np.log(1 - p))
    assert 0.3 < len(gains) / 35 < 0.9
    np.testing.assert_allclose(untalked, 0, atol=1e-6)
    for name, expected in (
        ("critic_loss", np.square(critic_errors).mean((0, 2)).sum()),
        ("actor_loss", -np.mean(values)),
        ("delta_q", gains.mean()),
        ("attention_loss", attention_loss),
        ("initiators", len(gains) / 35),
    ):
        assert float(result[name]) == pytest.approx(expected, rel=1e-3, abs=1e-7), name
    assert abs(gains.mean()) > 3e-4  # or there would have been nothing to compare


def test_the_actor_goes_up_the_critics_slope():
    agent = trained(agent_of(critic_lr=1e-12))
    losses = [float(agent.update(batch_of(agent))["actor_loss"]) for _ in range(20)]
    assert all(after < before for before, after in itertools.pairwise(losses))


@pytest.mark.parametrize("part", ["first", "channel", "second"])
def test_every_part_of_the_actor_has_a_target_that_is_used(part):
    agent, changed = (trained(agent_of(tau=0.1)) for _ in range(2))
    for name, parameter in changed.learners["g"].target_actor.named_parameters():
        if name.startswith(part):
            parameter.data += 0.3
    one, other = (x.update(batch_of(agent))["critic_loss"] for x in (agent, changed))
    assert abs(one / other - 1) > 1e-4


def test_targets_follow_by_tau():
    agent = trained(agent_of(tau=0.1, communication="forced"))
    before = agent.state_dict()
    agent.update(batch_of(agent))
    after = agent.state_dict()
    targets = [k for k in after if k.startswith("g.target")]
    assert {k.split(".")[2] for k in targets} >= {"first", "channel", "second"}
    for k in targets:
        expected = 0.9 * before[k] + 0.1 * after[k.replace("target_", "")]
        torch.testing.assert_close(after[k], expected)
        assert not torch.equal(after[k], before[k])


def test_only_the_attention_unit_learns_attention():
    """Its loss moves nothing else, and without it nothing moves the unit."""
    state = {}
    for mode in ("attention", "forced"):
        agent = agent_of(communication=mode)
        begun = agent.state_dict()
        agent.update(batch_of(agent))
        state[mode] = agent.state_dict()
        moved = any(not torch.equal(begun[k], state[mode][k]) for k in begun if ".attention." in k)
        assert moved == (mode == "attention")
    for k, tensor in state["forced"].items():
        assert "attention" in k or torch.equal(tensor, state["attention"][k]), k


def test_the_attention_unit_learns_where_communication_helps():
    """Groups whose initiator's first number is positive gain, by decree; so they should begin."""
    agent = agent_of(actor_lr=0.01, hidden=(32,), thought=16)
    learner = agent.learners["g"]
    o = torch.randn(1, 200, 3, generator=torch.Generator().manual_seed(0))
    thought = learner.actor.think(o).detach()
    pairs = torch.stack([torch.arange(200), torch.full((200,), -1)], 1)
    for _ in range(300):
        learner.attend(thought, o[0, :, 0].clamp(-0.1, 0.1), pairs, {})
    found = learner.attention(thought)[0, :, 0] > 0
    assert (found == (o[0, :, 0] > 0)).float().mean() > 0.9


def test_learning_rates_fall():
    agent = agent_of(actor_lr=0.01, critic_lr=0.02, final_lr=0.2)
    agent.anneal(0.5)
    before = agent.state_dict()
    agent.update(batch_of(agent))
    after = agent.state_dict()
    for name, rate in (("actor", 0.01), ("critics", 0.02), ("attention", 0.01)):
        moved = [(after[k] - before[k]).abs().max() for k in before if k.startswith(f"g.{name}.")]
        assert float(max(moved)) == pytest.approx(0.6 * rate, rel=1e-2)


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


def test_in_silence_it_learns_as_atoc_without_communication_does():
    """Step for step and with every option: without groups the actor is one MLP."""
    alone = {"g": group_of(1, 8, 2, *PARTS)}
    options = EVERYTHING | {"actor_lr": 0.02, "critic_lr": 0.05, "tau": 0.1}
    agent = agent_of(alone, communication="off", **options)
    plain = DDPG(alone, DDPGConfig(hidden=(8, 6, 6), **options), ExplorationConfig(), seed=0)
    own, other = agent.learners["g"], plain.learners["g"]
    for mine, theirs in ((own.actor, other.actor), (own.target_actor, other.target_actor)):
        second = mine.second.layers[0].weight.data
        weights = {f"layers.{i}.{k}": v for i, layer in enumerate(mine.first.layers)
                   for k, v in layer.state_dict().items()}  # fmt: skip
        weights["layers.2.weight"] = second[:, :6]  # of the thought; of no integrated thought: rest
        weights["layers.2.bias"] = mine.second.layers[0].bias
        weights |= {k: v for k, v in mine.second.state_dict().items() if k.startswith("output")}
        weights |= {k: v for k, v in theirs.state_dict().items() if k.startswith("norms")}
        theirs.load_state_dict(weights)
    other.critics.load_state_dict(own.critics.state_dict())
    other.target_critics.load_state_dict(own.target_critics.state_dict())
    look = {"g": np.random.default_rng(0).normal(1.0, 2.0, size=(20, 1, 8)).astype("f4")}
    look["g"][..., [4, 7]] = 1.0  # these say that an item is there
    for each in (agent, plain):
        each.act(look, explore=True)
    for seed in range(6):
        batch = probes.batch_of(alone, 16, seed)
        batch["g"].observation[..., [4, 7]] = batch["g"].next_observation[..., [4, 7]] = 1.0
        one, two = agent.update(batch), plain.update(batch)
        assert one.keys() == two.keys()
        for name, value in one.items():
            torch.testing.assert_close(value, two[name], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(agent.act(look)["g"], plain.act(look)["g"], atol=1e-5)
    assert np.abs(agent.act(look)["g"]).max() > 0.05


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


# ----------------------------------------------------------------------------- probe environments


class Whisper(Probe):
    """Agent 0 sees x; agent 1 sees nothing, and is to do x."""

    def __init__(self):
        def observe(rng, t):
            looks = np.zeros((probes.WORLDS, 2, 2))
            looks[:, 0, 0] = rng.uniform(-0.8, 0.8, probes.WORLDS)
            looks[..., 1] = [1, -1]
            return {"g": looks}

        def reward(t, o, a):
            error = a["g"][:, 1, 0] - o["g"][:, 0, 0]
            return {"g": np.stack([0 * error, -np.square(error)], 1)}

        super().__init__({"g": (2, 2, 1)}, reward, observe)

    def neighbours(self, agents, landmarks):
        near = np.full((probes.WORLDS, 2, agents), -1)
        near[:, :, 0] = [1, 0]
        return {"g": Neighbours(near, np.zeros((probes.WORLDS, 2, 0), int))}


class Judge(nn.Module):
    """A critic who knows the answer: what an action of each agent is worth, given everybody's
    observation."""

    def __init__(self):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1, 1, 1))

    def forward(self, observation, action):
        x = observation[0, ::2, :1]
        value = torch.zeros_like(action)
        value[0, 1::2] = -(action[0, 1::2] - x).square()
        return value + 0.0 * self.nothing


def error_after(communication, judge, updates=100):
    """Mean squared error of agent 1 once it has learnt; 0.213 for one who hears nothing."""
    world = Whisper()
    config = {"hidden": (32,), "thought": 16, "gamma": 0.0, "actor_lr": 3e-3, "critic_lr": 5e-3}
    agent = agent_of(world.groups, sigma=0.3, communication=communication, **config)
    if judge:
        critics = nn.ModuleList([Judge()])
        agent.learners["g"].critics = agent.learners["g"].target_critics = critics
    columns = agent.columns(world.groups)
    memory = Replay(world.groups, 4000, torch.Generator().manual_seed(0), columns)
    for transition, _ in itertools.islice(collect(world, agent, True), updates):
        memory.add(transition)
        agent.update(memory.sample(64, draw="steps"))
    greedy = itertools.islice(collect(world, agent), 30)
    return -np.mean([transition.reward["g"][:, 1] for transition, _ in greedy])


def test_probe_what_one_agent_sees_another_learns_to_do():
    """Through the channel, back into the sender's part one; only with communication."""
    assert error_after("forced", judge=True) < 0.02
    assert error_after("off", judge=True) == pytest.approx(0.213, abs=0.03)


def test_probe_a_local_critic_cannot_judge_what_only_others_see():
    """Q(o_1, a_1) is the paper's, and has no x to compare a_1 with: communication or not, it finds
    the same action best. (See docs/agents/atoc_comm.md.)"""
    assert error_after("forced", judge=False) == pytest.approx(0.213, abs=0.03)
