"""PPO: worlds with known answers, options, refusals, resuming. (Losses: test_ppo_losses.py.)"""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from agents.ppo_agents import (
    LEGAL,
    MIXED,
    NETWORKS,
    ROWS,
    TEAM,
    UNLIKE,
    agent_of,
    lively,
    rollout_of,
)
from agents.probes import PLANE
from tiny import TINY, check_resumes

from marl.agents.ppo import PPO
from marl.agents.ppo_config import FAMILY, PPOConfig
from marl.config.parsing import parse_config
from marl.errors import UserError
from marl.learning.exploration import ExplorationConfig
from marl.learning.memory import Memory
from marl.rollout import collect
from marl.testing import games, probes
from marl.testing.check_agent import check_agent
from marl.testing.probes import group_of
from marl.training.loop import train

# ------------------------------------------------------------------------ worlds with known answers


def learn(world, updates=60, steps=4, **settings):
    """As training does. Returns the agent and the results of its last update."""
    quick = {"hidden": (32,), "actor_lr": 5e-3, "critic_lr": 1e-2, "gamma": 0.5, "epochs": 4}
    agent = PPO(world.groups, PPOConfig(**quick | {"entropy": 0.0} | settings), seed=0)
    sizes = SimpleNamespace(replay_size=1, update_every=16 * steps, num_worlds=16)
    memory = Memory(world.groups, agent, sizes, torch.Generator())
    result = {}
    for turn, (transition, _) in enumerate(
        itertools.islice(collect(world, agent, True), updates * steps)
    ):
        memory.add(transition)
        agent.anneal(turn / updates / steps)
        if batch := memory.sample(0):
            result = agent.update(batch)
    return agent, result


def value(agent, observation, g="agents"):
    learner = agent.learners[g]
    output, _ = learner.critic(torch.full((1, 1, 1, 1), observation))
    return float(learner.value_norm.returns(output.detach()[0]))


def greedy(agent, observation, g="agents"):
    return agent.act({g: np.full((1, 1, 1), observation, np.float32)})[g][0, 0, 0]


@pytest.mark.parametrize(("truncates", "answer"), [(True, 2.0), (False, 1.0)])
def test_probe_a_time_limit_bootstraps_and_a_termination_does_not(truncates, answer):
    agent, _ = learn(probes.constant_reward(truncates))
    assert value(agent, 0.0) == pytest.approx(answer, abs=0.1)


def test_probe_reward_read_from_the_observation():
    agent, _ = learn(probes.reward_in_observation())
    for observation in (-1.0, 1.0):
        assert value(agent, observation) == pytest.approx(observation, abs=0.15)


@pytest.mark.parametrize("gamma", [0.5, 0.9])
def test_probe_reward_a_step_later_is_discounted(gamma):
    agent, _ = learn(probes.reward_a_step_later(), gamma=gamma)
    assert value(agent, 1.0) == pytest.approx(1.0, abs=0.1)
    assert value(agent, 0.0) == pytest.approx(gamma, abs=0.1)


def test_probe_the_action_matters():
    agent, _ = learn(probes.action_matters(), 100, final_lr=0.1)
    assert greedy(agent, 0.0) == pytest.approx(0.5, abs=0.1)


def test_probe_the_action_follows_the_observation():
    agent, _ = learn(probes.action_follows_observation(), 100, final_lr=0.1)
    for observation in (-0.6, 0.0, 0.6):
        assert greedy(agent, observation) == pytest.approx(observation, abs=0.15)


def test_probe_everybody_has_an_answer_of_its_own():
    agent, _ = learn(probes.answers_of_their_own(), 100, networks="each", final_lr=0.1)
    acts = agent.act({"agents": np.zeros((1, 3, 1), np.float32)})["agents"]
    np.testing.assert_allclose(acts[0, :, 0], probes.ANSWERS, atol=0.15)


@ROWS
def test_probe_two_unlike_groups_follow_what_they_see(name):
    world = probes.two_unlike_groups()
    agent, _ = learn(world, 100, name=name, final_lr=0.1)
    observation = world.reset()
    acts = agent.act(observation)
    right = {"one": observation["one"][..., :1], "two": observation["two"] * [1.0, -1.0]}
    for g, act in acts.items():
        assert np.abs(act - right[g]).mean() < 0.15


def test_probe_a_critic_that_sees_all_predicts_what_another_sees():
    """The reward of each is what the other one sees."""
    world = probes.Probe(
        {"agents": (2, 1, 1)},
        lambda t, o, a: {"agents": o["agents"][:, ::-1, 0]},
        lambda rng, t: {"agents": rng.choice([-1.0, 1.0], (16, 2, 1))},
    )
    losses = {name: float(learn(world, name=name)[1]["critic_loss"]) for name in FAMILY}
    assert losses["mappo"] < 0.1 < 0.7 < losses["ippo"]


@NETWORKS
@ROWS
def test_the_climbing_game_is_played_safely(name, networks):
    """Who learns from what the present policies do avoids -30: 5 or 7, and not 11."""
    world = games.matrix_game(games.CLIMBING)
    agent, _ = learn(world, 100, name=name, networks=networks, entropy=0.01)
    row, column = agent.act({"agents": np.zeros((1, 2, 1), np.float32)})["agents"][0].argmax(-1)
    assert games.CLIMBING[row][column] in (5.0, 7.0)


@pytest.mark.parametrize(("memory", "least", "most"), [(0, 0.3, 0.7), (16, 0.99, 1.0)])
def test_only_a_memory_tells_the_cue(memory, least, most):
    world = games.remembered_cue(agents=2)
    agent, _ = learn(world, 60, 8, memory=memory, gamma=0.9, final_lr=0.2)
    rewards = [t.reward["agents"] for t, _ in itertools.islice(collect(world, agent), 40)]
    assert least <= 4 * np.mean(rewards) <= most


# --------------------------------------------------------------------------------- options, checks


EVERYTHING = {
    "epochs": 2,
    "minibatches": 2,
    "average": 0.9,
    "normalise": True,
    "layer_norm": ("actor", "critic"),
    "final_lr": 0.5,
}


@pytest.mark.parametrize("memory", [0, 5])
@NETWORKS
@ROWS
def test_every_row_passes_the_check(name, networks, memory):
    settings = {"name": name, "networks": networks, "memory": memory}
    for groups, more in ((UNLIKE, {}), (MIXED, EVERYTHING)):
        check_agent(lambda groups=groups, more=more: agent_of(groups, **settings, **more), groups)


def test_set_networks_and_symmetries_pass_the_check():
    team = {"team": PLANE["team"]}
    check_agent(lambda: agent_of(team, network="set", width=8, augment=True, minibatches=2), team)
    check_agent(lambda: agent_of(PLANE, name="mappo", augment=True, minibatches=2), PLANE)


@ROWS
def test_observations_and_samples_are_turned_alike(name):
    """A sample that is the velocity stays the velocity, and lengths stay."""
    agent = agent_of(PLANE, name=name, augment=True)
    batch = rollout_of(agent, PLANE)
    for x in batch.values():
        x.added["drawn"].copy_(x.observation[..., :2])
    learner = agent.learners["team"]
    rows = learner.judged(batch["team"], agent.inputs(batch)["team"])
    rows = rows.map(lambda x: x.flatten(1, 2)[:, None])
    order = torch.arange(20)
    part, plain = learner.part(rows, order, torch.Generator()), rows.map(lambda x: x.flatten(2, 3))
    assert torch.equal(part.drawn, part.observation[..., :2])
    assert not torch.equal(part.drawn, plain.drawn)
    torch.testing.assert_close(part.drawn.norm(dim=-1), plain.drawn.norm(dim=-1))
    lengths = [x.critic_input.square().sum(-1) for x in (part, plain)]
    torch.testing.assert_close(*lengths)
    assert torch.equal(part.critic_input[..., :8], part.observation)
    assert torch.equal(part.advantage, plain.advantage)


def test_greedy_actions_are_the_mean_and_samples_are_clipped_only_for_the_world():
    agent = lively(agent_of(deviation=2.0))
    seen = {"team": np.random.default_rng(0).normal(size=(50, 3, 4)).astype("f4")}
    sampled = agent.act(seen, explore=True)["team"]
    drawn = agent.recorded()["drawn"]["team"]
    assert np.array_equal(sampled, drawn.clip(-1, 1))
    assert (np.abs(drawn) > 1).mean() > 0.3
    calm = agent.act(seen)["team"]
    assert np.array_equal(calm, agent.act(seen)["team"])
    output, _ = agent.learners["team"].actor.network(torch.tensor(seen["team"]).view(1, 1, 150, 4))
    np.testing.assert_allclose(calm, output.detach().view(50, 3, 2).clip(-1, 1), atol=1e-6)


def test_forbidden_choices_are_never_taken():
    agent = agent_of({"team": LEGAL})
    seen = np.random.default_rng(0).normal(size=(90, 2, 7)).astype("f4")
    seen[..., 3:] = [0.0, 1.0, 1.0, 1.0]
    for explore in (True, False):
        acts = agent.act({"team": seen}, explore)["team"]
        assert not acts[..., 0].any()
        assert (acts[..., :3].sum(-1) == 1.0).all()


def test_shared_weights_fit_any_number_of_agents():
    for name, networks in itertools.product(FAMILY, ("one", "each")):
        small, large = (
            agent_of({"team": group_of(n, 4, 2)}, name=name, networks=networks).weights()
            for n in (2, 5)
        )
        fits = all(small[k].shape == x.shape for k, x in large.items())
        assert agent_of(name=name, networks=networks).size_invariant == fits


def test_seeds():
    weights = []
    for seed in (1, 1, 2):
        agent = agent_of(seed=seed, minibatches=2, epochs=2)
        agent.update(rollout_of(agent, TEAM))
        weights.append(agent.weights())
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name])
        assert not torch.equal(tensor, weights[2][name])


# --------------------------------------------------------------------------------------- refusals


SETS = {"team": PLANE["team"]}


@pytest.mark.parametrize(
    ("groups", "settings", "sentence"),
    [
        (PLANE, {"name": "mappo", "network": "set"}, "'set', but the critic of 'mappo' sees"),
        (SETS, {"network": "set", "memory": 4}, "agent.memory is on, but a 'set' network has none"),
        (SETS, {"network": "set", "normalise": True}, "agent.normalise is on, but a 'set' network"),
        (TEAM, {"network": "set"}, "agent.network is 'set', but the world's observations hold no"),
        (TEAM, {"augment": True}, "agent.augment is on, but the world does not say what its vect"),
        (MIXED, {"augment": True}, "agent.augment is on, but the world does not say where"),
        (PLANE, {"augment": True, "memory": 4}, "agent.augment is on, but the contents of a memo"),
    ],
)
def test_settings_that_do_not_fit_are_refused(groups, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        agent_of(groups, **settings)


@pytest.mark.parametrize("kind", ["gaussian", "ou", "psne", "epsilon"])
def test_the_policy_explores_by_itself(kind):
    with pytest.raises(
        ValueError, match=f"exploration.kind is '{kind}'; 'ippo' has the kinds none"
    ):
        PPO(TEAM, PPOConfig(), ExplorationConfig(kind=kind))


# --------------------------------------------------------------------------------------- resuming


@pytest.mark.parametrize(
    ("settings", "step"),
    [
        ({"name": "ippo", "memory": 4, "normalise": True}, 84),  # in the middle of a rollout
        ({"name": "mappo", "networks": "each", "minibatches": 2}, 160),
    ],
)
def test_stopped_and_resumed_ends_as_uninterrupted(data, monkeypatch, settings, step):
    """Half-full rollouts and hidden states included."""
    tiny = {**TINY, "agent": {"hidden": [8], "average": 0.9, "epochs": 2} | settings}
    tiny["exploration"] = {}
    tiny["training"] = TINY["training"] | {"update_every": 24, "steps": 240, "learning_starts": 0}
    check_resumes(parse_config(tiny), monkeypatch, step)


def test_worlds_that_do_not_fill_a_rollout_are_refused(data):
    tiny = {**TINY, "agent": {"name": "ippo", "hidden": [8]}, "exploration": {}}
    tiny["training"] = TINY["training"] | {"update_every": 10}
    with pytest.raises(UserError, match="update_every is 10, but should be a multiple of"):
        train(parse_config(tiny), "refused")
