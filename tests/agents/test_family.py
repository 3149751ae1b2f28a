"""The DDPG family: known answers, exploring, checks, refusals. (Losses: test_family_losses.py.)"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from agents import probes
from agents.family_agents import TEAM, UNLIKE, agent_of
from agents.probes import EVERYTHING, PLANE, batch_of, learn, trained

from marl.agents.ddpg import FAMILY
from marl.testing.check_agent import check_agent
from marl.testing.probes import Probe, group_of

# --------------------------------------------------------------------------- probe environments


PAIR = {"pair": (2, 2, 1)}
WHO = np.broadcast_to(np.eye(2), (probes.WORLDS, 2, 2))  # agents see who they are


@pytest.mark.parametrize("name", ["maddpg", "saddpg", "ddpg"])
def test_probe_a_reward_that_hangs_on_another_agents_action(name):
    """Critics that see all actions predict it; to a critic that sees its own it is noise."""
    world = Probe(
        PAIR,
        lambda t, o, a: {"pair": a["pair"][:, [1, 1], 0] * [2.0, 0.0]},
        lambda rng, t: {"pair": WHO},
    )
    agent, memory = learn(world, 200, name=name, hidden=(16, 16))
    batch = memory.sample(1000, draw="steps")
    variance = float(batch["pair"].reward[:, 0].var())
    loss = float(agent.update(batch)["critic_loss"]) * (2 if name == "saddpg" else 1)
    assert variance > 0.3
    assert loss == pytest.approx(variance if name == "ddpg" else 0.0, abs=0.2 * variance)


@pytest.mark.parametrize("name", ["ddpg", "maddpg"])
def test_probe_everybody_has_an_answer_of_its_own(name):
    """All see the same; only networks of one's own can tell what is right for oneself."""
    answers = np.array([-0.6, 0.0, 0.6])
    world = Probe({"g": (3, 1, 1)}, lambda t, o, a: {"g": -np.square(a["g"][..., 0] - answers)})
    agent, _ = learn(world, 400, name=name, hidden=(16, 16))
    acts = agent.act({"g": np.zeros((1, 3, 1), np.float32)})["g"]
    np.testing.assert_allclose(acts[0, :, 0], answers, atol=0.15)


@pytest.mark.parametrize("name", FAMILY)
def test_probe_two_unlike_groups_follow_what_they_see(name):
    """The one group follows the first of two numbers; the other, with two actions, its number and
    the opposite."""

    def answers(o):
        return {"one": o["one"][..., :1], "two": o["two"] * [1.0, -1.0]}

    world = Probe(
        {"one": (2, 2, 1), "two": (1, 1, 2)},
        lambda t, o, a: {g: -np.square(a[g] - x).sum(-1) for g, x in answers(o).items()},
        lambda rng, t: {
            "one": rng.uniform(-0.7, 0.7, (probes.WORLDS, 2, 2)),
            "two": rng.uniform(-0.7, 0.7, (probes.WORLDS, 1, 1)),
        },
    )
    agent, _ = learn(world, 200, name=name, hidden=(16, 16))
    observation = world.reset()
    acts, right = agent.act(observation), answers(observation)
    for g, act in acts.items():
        assert np.abs(act - right[g]).mean() < 0.15


def test_probe_one_mind_acts_on_what_another_body_sees():
    """The first agent is to do what the second sees; the second, nothing."""

    def answer(o):
        return np.stack([o["pair"][:, 1, 0], np.zeros(probes.WORLDS)], 1)

    world = Probe(
        {"pair": (2, 1, 1)},
        lambda t, o, a: {"pair": -2.0 * np.square(a["pair"][..., 0] - answer(o))},
        lambda rng, t: {"pair": rng.uniform(-0.7, 0.7, (probes.WORLDS, 2, 1))},
    )
    agent, _ = learn(world, 500, name="global")
    observation = world.reset()
    acts = agent.act(observation)["pair"][..., 0]
    assert np.abs(acts - answer(observation)).mean() < 0.15


# -------------------------------------------------------------------------------- exploring, etc.


@pytest.mark.parametrize("name", FAMILY)
def test_with_parameter_noise_greedy_actions_are_the_actors_own(name):
    agent, calm = agent_of(name, kind="psne"), agent_of(name, kind="none")
    observation = {"team": np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)}
    explored = [agent.act(observation, explore=True)["team"] for _ in range(2)]
    assert np.array_equal(*explored)
    assert np.array_equal(agent.act(observation)["team"], calm.act(observation)["team"])
    assert not np.isclose(explored[0], agent.act(observation)["team"]).any()
    agent.reset(np.arange(5) == 2)
    again = agent.act(observation, explore=True)["team"]
    changed = ~np.isclose(again, explored[0]).all((1, 2))
    assert changed.tolist() == [False, False, True, False, False]


@pytest.mark.parametrize(
    ("name", "kind"), [*((name, "psne") for name in FAMILY), ("maddpg", "gaussian"), ("atoc", "ou")]
)
def test_every_row_passes_the_check(name, kind, monkeypatch):
    monkeypatch.setattr("marl.agents.core.learner.ADAPT_EVERY", 2)
    check_agent(lambda: agent_of(name, UNLIKE, kind=kind), UNLIKE)


@pytest.mark.parametrize("kind", ["gaussian", "psne"])
@pytest.mark.parametrize("name", FAMILY)
def test_every_row_passes_with_every_option(name, kind, monkeypatch):
    monkeypatch.setattr("marl.agents.core.learner.ADAPT_EVERY", 2)
    check_agent(lambda: agent_of(name, PLANE, kind=kind, **EVERYTHING), PLANE)


def test_views_can_be_random_with_networks_of_ones_own():
    team = {"team": PLANE["team"]}
    settings = {"random_views": {"others": 0}, "normalise": True}
    check_agent(lambda: agent_of("maddpg", team, **settings), team)


@pytest.mark.parametrize("kind", ["ou", "psne"])
@pytest.mark.parametrize("name", FAMILY)
def test_after_a_full_reset_there_may_be_another_number_of_worlds(name, kind):
    agent = agent_of(name, PLANE, kind=kind)
    hiding = agent_of(name, {"team": PLANE["team"]}, kind=kind, random_views={"others": 0})
    for worlds in (2, 5):
        seen = {"team": np.ones((worlds, 3, 8), "f4"), "rivals": np.ones((worlds, 2, 3), "f4")}
        for each in (agent, hiding):
            each.reset()
            assert each.act(seen, explore=True)["team"].shape == (worlds, 3, 2)


def test_a_random_view_lasts_for_an_episode():
    """A reset draws new ones for its worlds only."""
    settings = {"random_views": {"others": 0}, "kind": "none"}
    agent = agent_of("maddpg", {"team": PLANE["team"]}, **settings)
    seen = {"team": np.ones((40, 3, 8), "f4")}
    first = agent.act(seen, explore=True)["team"]
    assert np.array_equal(agent.act(seen, explore=True)["team"], first)
    agent.reset(np.arange(40) >= 20)
    changed = (agent.act(seen, explore=True)["team"] != first).any(-1)
    assert not changed[:20].any()
    assert changed[20:].any(0).all()


@pytest.mark.parametrize("name", FAMILY)
def test_statistics_are_kept_for_every_network(name):
    """Agents with networks of their own have statistics of their own; others share."""
    agent = agent_of(name, normalise=True)
    rows = np.random.default_rng(0).normal(size=(50, 3, 4)).astype(np.float32)
    rows += np.arange(3)[:, None]
    agent.act({"team": rows}, explore=True)
    expected = {
        "each": rows.mean(0)[:, None],
        "one": rows.mean((0, 1))[None, None],
        "all": rows.reshape(50, 12).mean(0)[None, None],
    }
    row = FAMILY[name]
    mean = agent.weights()["team.normaliser.mean"]
    kept = expected["all" if row.actor == "all" else row.networks]
    np.testing.assert_allclose(mean, kept, atol=1e-5)


def test_statistics_change_only_while_exploring_and_travel_with_the_weights():
    agent, other = (agent_of("maddpg", normalise=True, seed=seed) for seed in (0, 1))
    observation = {"team": 5.0 + np.random.default_rng(0).normal(size=(9, 3, 4)).astype("f4")}
    fresh = agent.weights()
    agent.act(observation)
    agent.update(batch_of(TEAM, draw="steps"))
    assert not agent.weights()["team.normaliser.count"].any()
    agent.act(observation, explore=True)
    assert (agent.weights()["team.normaliser.count"] == 9).all()
    assert fresh.keys() == agent.weights().keys()
    other.load_weights(agent.weights())
    assert np.array_equal(agent.act(observation)["team"], other.act(observation)["team"])


def test_critics_and_actors_learn_from_normalised_observations():
    """Normalising by hand before the update gives the same losses."""
    agent, plain = agent_of("maddpg", normalise=True), agent_of("maddpg")
    rows = np.random.default_rng(0).normal(3.0, 2.0, size=(90, 3, 4)).astype(np.float32)
    agent.act({"team": rows}, explore=True)
    batch = batch_of(TEAM, draw="steps")
    mean, deviation = (torch.from_numpy(x) for x in (rows.mean(0), rows.std(0)))
    normal = {
        x: (getattr(batch["team"], x) - mean) / deviation
        for x in ("observation", "next_observation")
    }
    expected = plain.update({"team": replace(batch["team"], **normal)})
    for name, value in agent.update(batch).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", FAMILY)
def test_bfloat16_is_nearly_float32(name):
    """Products are rounded to 8 bits, weights, targets and what is logged are not."""
    exact, rough = (agent_of(name, precision=p) for p in ("float32", "bfloat16"))
    for agent in (exact, rough):
        for learner in agent.learners.values():
            for network in (learner.actor, *learner.critics, *learner.target_critics):
                network.output.weight.data *= 100.0
    batch = batch_of(TEAM, rows=64, draw=exact.draw)
    one, two = exact.update(batch), rough.update(batch)
    for key, value in one.items():
        assert two[key].dtype == torch.float32
        torch.testing.assert_close(two[key], value, rtol=0.03, atol=0.01)
    assert not torch.equal(one["critic_loss"], two["critic_loss"])
    assert all(w.dtype == torch.float32 for w in rough.weights().values())


def test_seeds():
    weights = [trained(agent_of("saddpg", seed=seed)).weights() for seed in (1, 1, 2)]
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name])
        assert not torch.equal(tensor, weights[2][name])


def test_shared_weights_fit_any_number_of_agents():
    for name in FAMILY:
        small, large = (agent_of(name, {"team": group_of(n, 4, 2)}) for n in (2, 5))
        fits = all(
            small.weights()[k].shape == tensor.shape for k, tensor in large.weights().items()
        )
        assert small.size_invariant == large.size_invariant == fits
        assert small.draw == ("agents" if name == "atoc" else "steps")


# --------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("name", ["global", "maddpg", "saddpg"])
def test_a_joint_critic_needs_an_mlp(name):
    with pytest.raises(ValueError, match=rf"'set', but the critic of '{name}' .* use 'mlp'"):
        agent_of(name, PLANE, network="set")


def test_a_set_network_is_not_normalised():
    with pytest.raises(ValueError, match=r"agent\.normalise is on, but a 'set' network"):
        agent_of("atoc", {"team": PLANE["team"]}, network="set", normalise=True)


@pytest.mark.parametrize("name", ["ddpg", "atoc"])
def test_a_set_network_goes_with_critics_that_see_their_own(name):
    team = {"team": PLANE["team"]}
    check_agent(lambda: agent_of(name, team, network="set", width=8, kind="psne"), team)
