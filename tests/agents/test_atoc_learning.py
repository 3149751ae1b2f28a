"""ATOC with communication learns: one update against loops over agents and groups, and
probes in which only a message helps."""

import itertools

import numpy as np
import pytest
import torch
from agents import probes
from agents.atoc_agents import acted, agent_of, batch_of
from agents.probes import EVERYTHING, PLANE, forward, layers_of
from torch import nn

from marl.agents.ddpg import DDPG, DDPGConfig
from marl.learning.exploration import ExplorationConfig
from marl.learning.replay import Replay
from marl.rollout import collect
from marl.testing.probes import Probe, group_of
from marl.worlds.base import Neighbours

PARTS = PLANE["team"].observation_parts, PLANE["team"].action_parts


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


# ----------------------------------------------------------------------------------- one update


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
