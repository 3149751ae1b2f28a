"""Soft actor-critic: known answers, checks of the agent, refusals. (Losses: test_sac_losses.py.)"""

import math

import numpy as np
import pytest
import torch
from agents.probes import PLANE, forward, layers_of, trained_in
from agents.sac_agents import CHOICES, TEAM, UNLIKE, agent_of, batch_of, every_row, names, trained
from tiny import TINY, check_resumes

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

LIMITED = {  # the last five numbers of an observation say which choices are allowed
    "team": Group(
        TEAM["team"].names,
        group_of(3, 9, 5).observation_space,
        TEAM["team"].action_space,
        action_parts=CHOICES,
        legal_from=4,
    )
}


# ---------------------------------------------------------------------------------- temperature


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
        (TEAM, {"augment": True}, r"agent\.augment is on, but the world does not say where"),
        (PLANE, {"name": "masac", "network": "set"}, "'set', but the critic of 'masac'"),
        (PLANE, {"network": "set", "normalise": True}, r"agent\.normalise is on, but a 'set'"),
        (TEAM, {"temperature": 0.1, "temperature_lr": 0.1}, "temperature is 0.1, so none is learn"),
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
