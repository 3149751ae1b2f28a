"""Soft actor-critic: losses by hand, learners made by hand, known answers."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from agents import probes
from agents.probes import PLANE, columns_of, forward, layers_of, ordinary, step, trained_in
from tiny import TINY, check_resumes
from torch import nn
from torch.nn import functional as F

from marl.agents.sac import CRITICS, SAC, SACConfig
from marl.config.parsing import merged, parse_config
from marl.learning.exploration import ExplorationConfig
from marl.learning.record import Batch
from marl.testing.check_agent import check_agent
from marl.testing.games import Game, matrix_game
from marl.testing.probes import (
    ANSWERS,
    action_follows_observation,
    action_matters,
    another_agents_action,
    answers_of_their_own,
    constant_reward,
    group_of,
    reward_a_step_later,
    reward_in_observation,
    two_unlike_groups,
)
from marl.worlds.spaces import Group, Part

CHOICES = (Part("move", scalars=3, choice=True), Part("say", scalars=2, choice=True))
TABLE = np.array([[m, 3 + s] for m in range(3) for s in range(2)])  # the ones of joint choices
TEAM = {"team": group_of(3, 4, 5, action_parts=CHOICES)}
UNLIKE = TEAM | {"rivals": group_of(2, 3, 2)}
LIMITED = {  # the last five numbers of an observation say which choices are allowed
    "team": Group(
        TEAM["team"].names,
        group_of(3, 9, 5).observation_space,
        TEAM["team"].action_space,
        action_parts=CHOICES,
        legal_from=4,
    )
}

every_row = pytest.mark.parametrize("networks", ["one", "each"])
names = pytest.mark.parametrize("name", CRITICS)


def agent_of(name, networks="one", groups=UNLIKE, seed=0, **settings):
    config = SACConfig(**{"name": name, "networks": networks, "hidden": (8,)} | settings)
    return SAC(groups, config, seed=seed)


def batch_of(groups, rows=8, seed=0, draw="steps"):
    """Random transitions, with one-hot choices."""
    batch = probes.batch_of(groups, rows, seed, draw)
    for g, group in groups.items():
        for piece in group.choices:
            chosen = batch[g].action[..., piece].argmax(-1)
            batch[g].action[..., piece] = F.one_hot(chosen, piece.stop - piece.start).float()
    return batch


def trained(agent, updates=5):
    for seed in range(updates):
        agent.update(batch_of(agent.groups, seed=10 + seed, draw=agent.draw))
    return agent


# --------------------------------------------------------------------------------- losses by hand


def policy_by_hand(output, noise, choices):
    """Action [B, A], chances and their logarithms, [B, C], in numpy."""
    if choices:
        shifted = output - output.max(1, keepdims=True)
        log = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        drawn = TABLE[(log - np.log(noise)).argmax(1)]
        return np.eye(5)[drawn].sum(1), np.exp(log), log
    mean, log_deviation = np.split(output, 2, axis=1)
    u = mean + np.exp(log_deviation) * noise
    log = -0.5 * noise**2 - 0.5 * np.log(2 * np.pi) - log_deviation - np.log(1 - np.tanh(u) ** 2)
    return np.tanh(u), np.ones((len(u), 1)), log.sum(1, keepdims=True)


class Noise:
    """The draws of the next update, {group: [N, B, size]}, of the next step and of this one."""

    def __init__(self, agent, batch):
        random = torch.Generator()
        random.set_state(agent.generator.get_state())

        def draws(g):
            shape, dtype = batch[g].reward.T.shape, batch[g].reward.dtype
            if agent.groups[g].choices:
                return torch.empty(*shape, 6, dtype=dtype).exponential_(generator=random).numpy()
            return torch.randn(*shape, 2, generator=random, dtype=dtype).numpy()

        self.next = {g: draws(g) for g in batch}
        self.now = {g: draws(g) for g in batch}


def losses_by_hand(agent, before, after, batch, g, noise):
    """Losses of the critics, of the actor (after the critics' step), and the entropy, of a group.
    Without `present`, every row counts."""
    joint, each = CRITICS[agent.config.name] == "all", agent.config.networks == "each"
    o, a, r, o2, terminated = (
        {h: x.numpy().astype(float) for h, x in column.items()} for column in columns_of(batch)
    )
    there = {
        h: np.ones_like(r[h]) if x.present is None else x.present.numpy() for h, x in batch.items()
    }
    a = {h: x * there[h][..., None] for h, x in a.items()}
    alpha = 0.3

    def network(state, h, name, i):
        return layers_of(state, f"{h}.{name}.", i if each else 0)

    def drawn(h, i, seen, noise):
        output = forward(network(before, h, "actor", i), seen[h][:, i])
        return policy_by_hand(output, noise[h][i], agent.groups[h].choices)

    def values(state, critics, o, a, i):
        """The smaller of both critics' values of agent i, [B, C]."""
        row = probes.critics_view(o, a, g, i, joint, each, np.concatenate)
        if agent.groups[g].choices:  # the own action is no input
            at = row.shape[1] - sum(
                x.shape[2] * (x.shape[1] if joint else h == g) for h, x in a.items()
            )
            row = np.delete(row, slice(at, at + 5), 1)
        return [forward(network(state, g, f"{critics}.{k}", i), row) for k in (0, 1)]

    def of_action(q, i):
        if not agent.groups[g].choices:
            return q[:, 0]
        number = 2 * a[g][:, i, :3].argmax(1) + a[g][:, i, 3:].argmax(1)
        return q[np.arange(len(q)), number]

    n = {h: x.shape[1] for h, x in r.items()}
    following = {h: [drawn(h, i, o2, noise.next) for i in range(n[h])] for h in o}
    a2 = {h: np.stack([x[0] for x in following[h]], 1) for h in o}
    a2 = {h: x * (there[h] * (1 - terminated[h]))[..., None] for h, x in a2.items()}
    if all(x.present is None for x in batch.values()):
        a2 = {h: np.stack([x[0] for x in following[h]], 1) for h in o}
    critic, actor, entropy = [], [], []
    for i in range(n[g]):
        counts = there[g][:, i] > 0
        _, chance, log = following[g][i]
        q = np.minimum(*values(before, "target_critics", o2, a2, i))
        soft = (chance * (q - alpha * log)).sum(1)
        y = r[g][:, i] + 0.9 * (1 - terminated[g][:, i]) * soft
        both = values(before, "critics", o, a, i)
        critic.append(sum(np.square(of_action(q, i) - y)[counts] for q in both))
        mine, chance, log = drawn(g, i, o, noise.now)
        does = {h: x.copy() for h, x in a.items()}  # the others do what they did
        does[g][:, i] = mine
        q = np.minimum(*values(after, "critics", o, does, i))
        actor.append((chance * (alpha * log - q)).sum(1)[counts])
        entropy.append(-(chance * log).sum(1)[counts])

    def combined(losses, together):
        if each:
            return together([x.mean() for x in losses])
        return np.concatenate(losses).mean()

    return combined(critic, sum), combined(actor, sum), combined(entropy, np.mean)


def check_losses(agent, batch):
    noise, before = Noise(agent, batch), agent.state_dict()
    result, after = agent.update(batch), agent.state_dict()
    for g in agent.groups:
        critic, actor, entropy = losses_by_hand(agent, before, after, batch, g, noise)
        assert float(result[f"{g}.critic_loss"]) == pytest.approx(critic, rel=1e-4)
        assert float(result[f"{g}.actor_loss"]) == pytest.approx(actor, rel=1e-4)
        assert float(result[f"{g}.entropy"]) == pytest.approx(entropy, rel=1e-4)


QUICK = {"tau": 0.1, "actor_lr": 0.03, "critic_lr": 0.03, "temperature": 0.3}


@every_row
@names
def test_losses_are_those_computed_by_hand(name, networks):
    """The team chooses, the rivals act with numbers."""
    agent = trained(agent_of(name, networks, **QUICK))
    check_losses(agent, batch_of(UNLIKE, draw=agent.draw))


@every_row
@names
def test_agents_that_have_left_are_left_out(name, networks):
    agent = trained(agent_of(name, networks, **QUICK))
    batch = batch_of(UNLIKE, draw=agent.draw)
    for number, (g, x) in enumerate([*batch.items()]):
        n = x.reward.shape[1]
        there = ((torch.arange(8)[:, None] + torch.arange(n) + number) % 3 > 0).float()
        x.terminated[there == 0.0] = 1.0
        batch[g] = replace(x, present=there)
    check_losses(agent, batch)


@names
def test_the_rows_of_agents_that_have_left_change_nothing(name):
    batch = batch_of(TEAM)["team"]
    there = ((torch.arange(8)[:, None] + torch.arange(3)) % 3 > 0).float()
    batch.terminated[there == 0.0] = 1.0
    states = []
    for garbage in (0.0, 50.0):
        gone = there == 0.0
        reward = torch.where(gone, batch.reward + garbage, batch.reward)
        action = torch.where(gone[..., None], batch.action.flip(-1) * garbage, batch.action)
        agent = trained(agent_of(name, groups=TEAM))
        agent.update({"team": replace(batch, reward=reward, action=action, present=there)})
        states.append(agent.state_dict())
    assert all(torch.equal(x, states[1][k]) for k, x in states[0].items())


# ---------------------------------------------------------------------------------- temperature


def temperatures(agent):
    return {g: agent.state_dict()[f"{g}.temperature.log"] for g in agent.groups}


@every_row
def test_the_temperatures_loss_is_the_one_computed_by_hand(networks):
    """log alpha (entropy - target), whose slope is entropy - target: the mean over the rows, for
    each network."""
    agent = trained(agent_of("masac", networks, target_entropy=0.5))
    batch = batch_of(UNLIKE, draw=agent.draw)
    agent.update(batch)
    for g, largest in [("team", math.log(6)), ("rivals", 2.0)]:
        temperature, learner = agent.learners[g].temperature, agent.learners[g]
        assert temperature.log.shape[0] == (len(UNLIKE[g]) if networks == "each" else 1)
        one = trained(agent_of("masac", networks, target_entropy=0.5))
        entropy = one.update(batch)[f"{g}.entropy"]  # the mean over the networks
        slope = float(learner.temperature.log.grad.mean())
        assert slope == pytest.approx(float(entropy) - 0.5 * largest, abs=1e-5)


def test_a_fixed_temperature_stays_and_a_learned_one_is_logged():
    fixed, learned = agent_of("isac", temperature=0.25), agent_of("isac", initial_temperature=0.5)
    for seed in range(3):
        results = [x.update(batch_of(UNLIKE, seed=seed, draw=x.draw)) for x in (fixed, learned)]
        assert float(results[0]["team.temperature"]) == 0.25
    assert not any("temperature" in k for k in fixed.state_dict())
    assert float(results[1]["team.temperature"]) == pytest.approx(0.5, rel=0.01)
    assert float(results[1]["team.temperature"]) != 0.5


QUICK_ONE = {
    "hidden": (16,),
    "gamma": 0.5,
    "tau": 0.1,
    "actor_lr": 1e-2,
    "critic_lr": 1e-2,
}


def bandit(reward, group, settings, updates=500):
    """An agent that sees nothing and learns from random actions, and what it last logged."""
    groups = {"g": group}
    agent = SAC(groups, SACConfig(**QUICK_ONE | settings))
    for seed in range(updates):
        action = batch_of(groups, 64, seed, "agents")["g"].action
        nothing = torch.zeros(64, 1, 1)
        rows = Batch(nothing, action, reward(action), nothing, torch.ones(64, 1))
        result = agent.update({"g": rows})
    return agent, {k: float(x) for k, x in result.items()}


ARMS = group_of(1, 1, 3, action_parts=(Part("arm", scalars=3, choice=True),))
PAY = torch.tensor([0.0, 0.5, 1.0])


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_the_temperature_of_choices_finds_a_stated_entropy(share):
    settings = {"target_entropy": share, "temperature_lr": 0.02}
    _, logged = bandit(lambda a: a @ PAY, ARMS, settings)
    assert logged["entropy"] == pytest.approx(share * math.log(3), abs=0.03)


@pytest.mark.learning
@pytest.mark.parametrize("target", [-1.5, 0.2])
def test_the_temperature_of_numbers_finds_a_stated_entropy(target):
    """Two numbers, each with an entropy of `target` nats."""
    settings = {"target_entropy": target, "temperature_lr": 0.02}
    _, logged = bandit(
        lambda a: -(a - 0.2).square().sum(-1), group_of(1, 1, 2), settings, updates=700
    )
    assert logged["entropy"] == pytest.approx(2 * target, abs=0.3)


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_the_policy_of_a_bandit_is_the_softmax_of_its_values(alpha):
    agent, _ = bandit(lambda a: a @ PAY, ARMS, {"temperature": alpha})
    expected = (PAY / alpha).softmax(-1)
    seen = {"g": np.zeros((20_000, 1, 1), np.float32)}
    found = agent.act(seen, explore=True)["g"].mean((0, 1))
    np.testing.assert_allclose(found, expected, atol=0.03)
    assert agent.act(seen)["g"][0, 0].tolist() == [0.0, 0.0, 1.0]


# ------------------------------------------------------------------------- learners made by hand


class Plain:
    """A learner as one writes it for a single agent, with copies of slice k of a learner's nets."""

    def __init__(self, learner, k):
        self.actor = ordinary(learner.actor, k)
        self.critics = [ordinary(critic, k) for critic in learner.critics]
        self.target_critics = [ordinary(critic, k) for critic in learner.critics]
        self.log = nn.Parameter(learner.temperature.log[k, 0, 0].detach().clone())
        self.actor_optimiser = torch.optim.Adam(self.actor.parameters(), 1e-3)
        weights = [p for critic in self.critics for p in critic.parameters()]
        self.critic_optimiser = torch.optim.Adam(weights, 1e-3)
        self.temperature_optimiser = torch.optim.Adam([self.log], 1e-3)

    def policy(self, o, noise, choices):
        output = self.actor(o)
        if choices:
            log = output.log_softmax(-1)
            drawn = F.one_hot((log - noise.log()).argmax(-1), 6).double()
            ones = torch.from_numpy(np.eye(5)[TABLE].sum(1))
            return drawn @ ones, log.exp(), log
        mean, log_deviation = output.chunk(2, -1)
        u = mean + log_deviation.exp() * noise
        log = -0.5 * noise.square() - 0.5 * math.log(2 * math.pi) - log_deviation
        log = log - (1 - u.tanh().square()).log()
        return u.tanh(), torch.ones(len(u), 1), log.sum(-1, keepdim=True)


def plain_update(learners, agent, batch, noise):
    """`learners` {g: one for each agent, or the same for all}; one loop over agents."""
    joint, each = CRITICS[agent.config.name] == "all", agent.config.networks == "each"
    o, a, r, o2, terminated = columns_of(batch)
    of_next, of_now = (
        {g: torch.from_numpy(x).double() for g, x in draws.items()}
        for draws in (noise.next, noise.now)
    )

    def values(critics, o, a, g, i):
        row = probes.critics_view(o, a, g, i, joint, each, torch.cat)
        if agent.groups[g].choices:
            looks = sum(x.shape[2] * (x.shape[1] if joint else h == g) for h, x in a.items())
            at = row.shape[1] - looks
            row = torch.cat([row[:, :at], row[:, at + 5 :]], 1)
        return torch.stack([q(row) for q in critics])

    with torch.no_grad():
        following = {
            g: [
                x.policy(o2[g][:, i], of_next[g][i], agent.groups[g].choices)
                for i, x in enumerate(own)
            ]
            for g, own in learners.items()
        }
        a2 = {g: torch.stack([x[0] for x in own], 1) for g, own in following.items()}
    for g, everybody in learners.items():
        choices = agent.groups[g].choices
        for learner in dict.fromkeys(everybody):
            mine = [i for i, other in enumerate(everybody) if other is learner]
            alpha, losses = learner.log.detach().exp(), []
            for i in mine:
                with torch.no_grad():
                    _, chance, log = following[g][i]
                    q = values(learner.target_critics, o2, a2, g, i).amin(0) - alpha * log
                    y = r[g][:, i] + 0.9 * (1 - terminated[g][:, i]) * (chance * q).sum(1)
                q = values(learner.critics, o, a, g, i)
                if choices:
                    number = 2 * a[g][:, i, :3].argmax(1) + a[g][:, i, 3:].argmax(1)
                    q = q.gather(2, number.expand(2, -1)[..., None])
                losses.append((q[..., 0] - y).square().mean(1).sum())
            step(learner.critic_optimiser, torch.stack(losses).mean(), learner.critics, 0.5)
            losses, missing = [], []
            target = 0.2 * math.log(6) if choices else -2.0
            for i in mine:
                action, chance, log = learner.policy(o[g][:, i], of_now[g][i], choices)
                does = {h: x.clone() for h, x in a.items()}
                does[g][:, i] = action
                q = values(learner.critics, o, does, g, i).amin(0)
                losses.append((chance * (alpha * log - q)).sum(1).mean())
                missing.append(-(chance * log).sum(1).mean().detach() - target)
            step(learner.actor_optimiser, torch.stack(losses).mean(), [learner.actor], 0.5)
            loss = learner.log * torch.stack(missing).mean()
            step(learner.temperature_optimiser, loss, [nn.ParameterList([learner.log])], 0.5)
            for target, source in zip(learner.target_critics, learner.critics, strict=True):
                probes.follow(target, source, 0.1)


@every_row
@names
def test_the_stack_learns_what_separate_learners_do(name, networks):
    agent = agent_of(name, networks, tau=0.1, gradient_clip=0.5)
    agent.draw = "steps"
    learners = {}
    for g, group in UNLIKE.items():
        own = agent.learners[g]
        for network in (own.actor, own.critics, own.target_critics, own.temperature):
            network.double()
        for network in (own.actor, *own.critics):  # outputs start near zero; gradients are to clip
            network.output.weight.data *= 100.0
        own.target_critics.load_state_dict(own.critics.state_dict())
        count = len(group) if networks == "each" else 1
        made = [Plain(own, k) for k in range(count)]
        learners[g] = made if networks == "each" else made * len(group)
    for count in range(6):
        batch = batch_of(UNLIKE, seed=count)
        doubled = [[x.double() for x in column.values()] for column in columns_of(batch)]
        batch = {g: Batch(*[column[k] for column in doubled]) for k, g in enumerate(batch)}
        noise = Noise(agent, batch)
        agent.update(batch)
        plain_update(learners, agent, batch, noise)
    for g, everybody in learners.items():
        own = agent.learners[g]
        for k, learner in enumerate(dict.fromkeys(everybody)):
            torch.testing.assert_close(own.temperature.log[k, 0, 0], learner.log.data)
            stacked = [own.actor, *own.critics, *own.target_critics]
            theirs = [learner.actor, *learner.critics, *learner.target_critics]
            for mine, other in zip(stacked, theirs, strict=True):
                expected = other.state_dict()
                for key, tensor in ordinary(mine, k).state_dict().items():
                    torch.testing.assert_close(tensor, expected[key], rtol=0, atol=1e-7)


# ----------------------------------------------------------------------------- probe environments


def learn(world, updates=200, **settings):
    quick = {"hidden": (32, 32), "gamma": 0.5, "tau": 0.05, "actor_lr": 3e-3, "critic_lr": 5e-3}
    agent = SAC(world.groups, SACConfig(**quick | {"temperature": 0.02} | settings))
    return agent, trained_in(world, agent, updates)


def value(agent, observation, action):
    """Q of an observation and an action, of a group called agents."""
    a, o = torch.tensor([[action]]), torch.tensor([[[observation]]])
    state = agent.state_dict()
    result = agent.update({"agents": Batch(o, a, torch.zeros(1, 1), o, torch.ones(1, 1))})
    agent.load_state_dict(state)
    return float(result["value"])


def act(agent, observation):
    return float(agent.act({"agents": np.full((1, 1, 1), observation, "f4")})["agents"][0, 0, 0])


@pytest.mark.parametrize(("truncates", "answer"), [(True, 2.0), (False, 1.0)])
def test_probe_a_time_limit_bootstraps_and_a_termination_does_not(truncates, answer):
    agent, _ = learn(constant_reward(truncates), temperature=0.0)
    assert value(agent, 0.0, [0.3]) == pytest.approx(answer, abs=0.1)


@pytest.mark.parametrize(("truncates", "answer"), [(True, 2 + 0.4 * math.log(3)), (False, 1.0)])
def test_probe_values_hold_the_entropy_that_follows(truncates, answer):
    """Q = 1 + gamma (Q + alpha log 3), if it goes on: with equal rewards the softest policy is
    uniform."""
    world = Game(1, 1, 3, lambda t, o, a: {"agents": 1.0})
    world.truncates = truncates
    agent, _ = learn(world, temperature=0.4)
    assert value(agent, 0.0, [0.0, 1.0, 0.0]) == pytest.approx(answer, abs=0.1)


def test_probe_reward_read_from_the_observation():
    agent, _ = learn(reward_in_observation())
    for observation in (-1.0, 1.0):
        assert value(agent, observation, [0.2]) == pytest.approx(observation, abs=0.1)


def test_probe_reward_a_step_later_is_discounted():
    agent, _ = learn(reward_a_step_later(), temperature=0.0)
    assert value(agent, 1.0, [0.2]) == pytest.approx(1.0, abs=0.1)
    assert value(agent, 0.0, [0.2]) == pytest.approx(0.5, abs=0.1)


def test_probe_the_action_matters():
    agent, _ = learn(action_matters())
    assert act(agent, 0.0) == pytest.approx(0.5, abs=0.1)
    assert value(agent, 0.0, [-0.5]) == pytest.approx(-1.0, abs=0.25)


@pytest.mark.learning
def test_probe_the_action_follows_the_observation():
    agent, _ = learn(action_follows_observation(), 600)
    for observation in (-0.6, 0.0, 0.6):
        assert act(agent, observation) == pytest.approx(observation, abs=0.12)


@pytest.mark.parametrize(("name", "share"), [("isac", 1.0), ("masac", 0.0)])
def test_probe_a_reward_that_hangs_on_another_agents_action(name, share):
    """Critics that see all actions predict it; to a critic that sees its own it is noise."""
    world = another_agents_action()
    agent, memory = learn(world, name=name, networks="each", temperature=0.5, hidden=(16, 16))
    batch = memory.sample(1000, draw="steps")
    variance = float(batch["agents"].reward[:, 0].var())
    assert variance > 0.3
    loss = float(agent.update(batch)["critic_loss"]) / 2  # of each critic
    assert loss == pytest.approx(share * variance, abs=0.2 * variance)


@pytest.mark.learning
@names
def test_probe_everybody_has_an_answer_of_its_own(name):
    agent, _ = learn(answers_of_their_own(), name=name, networks="each", hidden=(16, 16))
    acts = agent.act({"agents": np.zeros((1, 3, 1), np.float32)})["agents"]
    np.testing.assert_allclose(acts[0, :, 0], ANSWERS, atol=0.15)


@pytest.mark.learning
@names
def test_probe_two_unlike_groups_follow_what_they_see(name):
    world = two_unlike_groups()
    agent, _ = learn(world, name=name, hidden=(16, 16))
    o = world.reset()
    right = {"one": o["one"][..., :1], "two": o["two"] * [1.0, -1.0]}
    for g, action in agent.act(o).items():
        assert np.abs(action - right[g]).mean() < 0.17


@names
def test_a_matrix_game_is_solved(name):
    """Both agents' best choice is the last, whatever the other does."""
    agent, _ = learn(matrix_game([[0, 0, 1], [0, 1, 2], [1, 2, 4]]), 200, name=name)
    acts = agent.act({"agents": np.zeros((1, 2, 1), np.float32)})["agents"]
    assert acts.argmax(-1).tolist() == [[2, 2]]


# ------------------------------------------------------------------------------------- the agent


OPTIONS = {
    "layer_norm": ("actor", "critic"),
    "normalise": True,
    "gradient_clip": 1.0,
    "average": 0.9,
    "final_lr": 0.1,
}


@pytest.mark.parametrize(
    ("groups", "options"),
    [
        (UNLIKE, {}),
        (UNLIKE, OPTIONS | {"temperature": 0.1}),
        (PLANE, OPTIONS | {"augment": True}),
        (LIMITED | {"rivals": UNLIKE["rivals"]}, {}),
    ],
    ids=["plain", "options", "plane", "limited"],
)
@every_row
@names
def test_every_row_passes_the_check(name, networks, groups, options):
    check_agent(lambda: agent_of(name, networks, groups, **options), groups)


@every_row
def test_a_set_network_goes_with_critics_that_see_their_own(networks):
    team = {"team": PLANE["team"]}
    check_agent(
        lambda: agent_of("isac", networks, team, network="set", width=8, augment=True), team
    )


@names
def test_only_allowed_choices_are_taken(name):
    agent = agent_of(name, groups=LIMITED)
    seen = np.random.default_rng(0).normal(size=(500, 3, 9)).astype("f4")
    seen[..., 4:] = [1, 0, 1, 0, 1]
    for explore in (True, False):
        acts = agent.act({"team": seen}, explore)["team"]
        assert (acts[..., [1, 3]] == 0).all()
    assert acts[..., 4].all()
    explored = agent.act({"team": seen}, explore=True)["team"]
    assert set(explored[..., 0].ravel()) == {0.0, 1.0}


def test_what_is_not_allowed_has_no_value():
    """Targets expect, and the entropy counts, what is allowed: here, only one joint choice."""
    batch = batch_of(LIMITED, draw="agents")["team"]
    for column in (batch.observation, batch.next_observation):
        column[..., 4:] = torch.tensor([0.0, 0.0, 1.0, 1.0, 0.0])
    agent = trained(agent_of("isac", groups=LIMITED, temperature=5.0))
    before = agent.state_dict()
    result = agent.update({"team": batch})
    o2 = batch.next_observation[:, 0].numpy()
    q = np.min([forward(layers_of(before, f"team.target_critics.{k}."), o2) for k in (0, 1)], 0)
    y = (batch.reward + 0.9 * (1 - batch.terminated) * torch.from_numpy(q[:, 4:5]))[:, 0].numpy()
    o, number = batch.observation[:, 0].numpy(), batch.action[:, 0].numpy() @ [0, 2, 4, 0, 1]
    losses = [
        np.square(
            forward(layers_of(before, f"team.critics.{k}."), o)[range(8), number.astype(int)] - y
        )
        for k in (0, 1)
    ]
    assert float(result["critic_loss"]) == pytest.approx(sum(x.mean() for x in losses), rel=1e-4)
    assert float(result["entropy"]) == 0.0


def test_shared_weights_fit_any_number_of_agents():
    for name in CRITICS:
        for networks in ("one", "each"):
            small, large = (agent_of(name, networks, {"team": group_of(n, 4, 2)}) for n in (2, 5))
            fits = all(
                small.weights()[k].shape == tensor.shape for k, tensor in large.weights().items()
            )
            assert small.size_invariant == large.size_invariant == fits == (networks == "one")
            alone = name == "isac" and networks == "one"
            assert small.draw == ("agents" if alone else "steps")


@pytest.mark.parametrize("actions", ["continuous", "discrete"])
@names
def test_a_stopped_run_continues_to_the_same_bytes(name, actions, data, monkeypatch):
    agent = {"name": name, "normalise": True, "networks": "each"}
    changed = {"world": {"actions": actions}, "agent": agent, "exploration": {"kind": "none"}}
    check_resumes(parse_config(merged(TINY, changed)), monkeypatch, 160 + 4)


# -------------------------------------------------------------------------------------- refusals


BOTH = group_of(2, 3, 4, action_parts=(Part("go", scalars=1), Part("say", scalars=3, choice=True)))


@pytest.mark.parametrize(
    ("groups", "settings", "sentence"),
    [
        ({"two": BOTH}, {}, "agent.name is 'isac', .* an action of 'two' has both"),
        (TEAM, {"target_entropy": -1.0}, r"agent\.target_entropy is -1\.0, but .* share"),
        (TEAM, {"target_entropy": 1.0}, r"agent\.target_entropy is 1\.0, but .* share"),
        (PLANE, {"target_entropy": 0.7}, r"agent\.target_entropy is 0\.7, but .* below log 2"),
        (TEAM, {"augment": True}, r"agent\.augment is on, but moves that are choices"),
        (PLANE, {"name": "masac", "network": "set"}, "'set', but the critic of 'masac'"),
        (PLANE, {"network": "set", "normalise": True}, r"agent\.normalise is on, but a 'set'"),
    ],
)
def test_what_does_not_fit_is_refused(groups, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        SAC(groups, SACConfig(**settings))


@pytest.mark.parametrize("kind", ["gaussian", "ou", "psne", "epsilon"])
def test_the_policy_itself_explores(kind):
    with pytest.raises(
        ValueError, match=f"exploration.kind is '{kind}'; 'isac' has the kinds none"
    ):
        SAC(TEAM, SACConfig(), ExplorationConfig(kind=kind))
