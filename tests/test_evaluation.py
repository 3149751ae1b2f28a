import json
from threading import Event

import numpy as np
import pytest

import marl
from marl import evaluation
from marl.agents import Policy
from marl.cli import main
from marl.errors import WorldFailed
from marl.evaluation import EvaluationStopped, cut_off, evaluate, scenes
from marl.policies.builtin import BUILTIN
from marl.studies import measurements
from marl.studies.measurements import Task
from marl.worlds.particles.scenarios.spread import Spread
from marl.worlds.particles.scenarios.tag import Tag

WORLD = Spread(episode_length=20)
KEYS = {
    *("agents", "episodes", "seed", "coverage", "coverage_ci95", "coverage_015"),
    *("collisions", "mean_distance", "reward", "path_length", "coverage_by_step"),
}


def test_keys_and_ranges():
    result = evaluate(BUILTIN["greedy"], WORLD, 4, 40, seed=1)
    assert set(result) == KEYS
    assert (result["agents"], result["episodes"], result["seed"]) == (4, 40, 1)
    low, high = result["coverage_ci95"]
    assert 0 <= low < result["coverage"] < high <= 1
    assert result["coverage"] <= result["coverage_015"]


def test_against_a_plain_loop():
    """One episode at a time, through the public interface."""
    result = evaluate(BUILTIN["greedy"], WORLD, 4, 5, seed=1)
    seed = int(np.random.SeedSequence((1, 0)).generate_state(1)[0])
    world = marl.make("spread", num_worlds=5, seed=seed, episode_length=20)
    policy = BUILTIN["greedy"](world)
    observation, rewards, collisions = world.reset(), [], []
    coverage, path, (before, _) = [], 0.0, world.positions()
    for _ in range(20):
        step = world.step(policy.act(observation))
        observation = step.observation
        after, _ = world.positions()
        path += np.linalg.norm(after - before, axis=2).mean()
        before = after
        coverage.append(float(step.metrics["coverage"].mean()))
        rewards.append(step.reward["agents"])
        collisions.append(step.metrics["collisions"])
    assert result["coverage"] == pytest.approx(step.metrics["coverage"].mean())
    assert result["mean_distance"] == pytest.approx(step.metrics["distance"].mean())
    assert result["collisions"] == pytest.approx(np.mean(collisions))
    assert result["reward"] == pytest.approx(np.mean(rewards), rel=1e-5)
    assert result["path_length"] == pytest.approx(path, rel=1e-5)
    assert result["coverage_by_step"] == pytest.approx(coverage)
    assert result["coverage_by_step"][-1] == result["coverage"]


class East(Policy):
    """Full force to the right."""

    def act(self, observation, explore=False):
        action = np.zeros((*observation["agents"].shape[:2], 2), np.float32)
        action[..., 0] = 1.0
        return {"agents": action}


def test_groups_and_events_against_a_plain_loop():
    """Touches and the rewards of both sides are means over steps; `reward` is over all agents."""
    world = {"num_adversaries": 6, "episode_length": 12}
    result = evaluate(BUILTIN["random"], Tag(**world), 7, 3, 5)
    chunk_seed = int(np.random.SeedSequence((5, 0)).generate_state(1)[0])
    worlds = marl.make("tag", num_worlds=3, seed=chunk_seed, **world)
    policy, observation = BUILTIN["random"](worlds, chunk_seed), worlds.reset()
    touches, rewards = [], []
    for _ in range(12):
        step = worlds.step(policy.act(observation))
        observation = step.observation
        touches.append(step.metrics["touches"])
        rewards.append(step.reward)
    assert np.sum(touches) > 0
    assert result["touches"] == pytest.approx(np.mean(touches))
    for g in ("adversaries", "good"):
        assert result[f"reward_{g}"] == pytest.approx(np.mean([r[g] for r in rewards]), rel=1e-5)
    both = [np.concatenate([r["adversaries"], r["good"]], 1) for r in rewards]
    assert result["reward"] == pytest.approx(np.mean(both), rel=1e-5)


def test_the_path_of_an_agent_that_is_pushed():
    world = Spread(episode_length=20, integration="semi_implicit")
    result = evaluate(lambda world, seed: East(), world, 1, 3, seed=0)
    speed, path = 0.0, 0.0
    for _ in range(20):
        speed = 0.75 * speed + 5.0 * 0.1  # a quarter is lost to damping; acceleration 5, steps .1 s
        path += speed * 0.1
    assert result["path_length"] == pytest.approx(path, rel=1e-5)


def test_same_seed_same_numbers_and_other_seed_other_numbers():
    first, again, other = (evaluate(BUILTIN["random"], WORLD, 4, 20, s) for s in (1, 1, 2))
    assert first == again
    assert first["mean_distance"] != other["mean_distance"]


def test_chunks_play_different_episodes(monkeypatch):
    monkeypatch.setattr(evaluation, "AGENTS_AT_ONCE", 8)
    two, four = (evaluate(BUILTIN["still"], WORLD, 4, e, 1)["mean_distance"] for e in (2, 4))
    assert two != four


def test_one_episode_has_no_interval():
    assert evaluate(BUILTIN["still"], WORLD, 4, 1, 1)["coverage_ci95"] is None


def test_how_many_episodes(monkeypatch):
    counts = []

    def play(world, policy, *options):
        counts.append(world.num_worlds)
        return dict.fromkeys(("coverage", "unfinished"), np.zeros(world.num_worlds))

    monkeypatch.setattr(evaluation, "_play", play)
    for agents, episodes in ((4, 2000), (12, 1667), (80, 250), (1000, 20), (2000, 20)):
        counts.clear()
        assert evaluate(BUILTIN["still"], WORLD, agents, None, 0)["episodes"] == episodes
        assert sum(counts) == episodes


def test_episodes_that_never_end_are_cut_off():
    """Each says so; others say nothing of it."""
    result = evaluate(BUILTIN["still"], WORLD, 4, 3, 0, max_steps=7)
    assert result["unfinished"] == 1.0
    assert len(result["coverage_by_step"]) == 7
    assert "coverage_ci95" in result
    (sentence,) = cut_off([result])
    assert sentence.startswith("With 4 agents 100% of the episodes had not ended after")
    assert "unfinished" not in evaluate(BUILTIN["still"], WORLD, 4, 3, 0)
    assert len([*scenes(BUILTIN["still"], WORLD.with_agents(4), max_steps=9)]) == 9


def test_a_stop_ends_the_play():
    stop = Event()
    stop.set()
    with pytest.raises(EvaluationStopped):
        evaluate(BUILTIN["still"], WORLD, 4, 3, 0, stop=stop)


def test_results_that_are_not_finite_end_with_status_1(data, monkeypatch, capsys):
    def measured(*args, **options):
        return {"coverage": np.array([0.5, np.nan]), "reward": np.array([1.0, 2.0])}

    monkeypatch.setattr(evaluation, "measure", measured)
    file = data / "a.json"
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "random", "--agents", "4", "--json", str(file)])
    assert stop.value.code == 1
    said = "random with 4 agents: coverage is not a finite number"
    assert capsys.readouterr().err.splitlines()[-1] == f"marl: {said}"
    (result,) = json.loads(file.read_text(), parse_constant=pytest.fail)
    assert (result["coverage"], result["reward"]) == (None, 1.5)
    task = Task(("random",), {"scenario": "tennis"}, 4, 2, 0)
    with pytest.raises(WorldFailed, match=said):
        next(measurements.measure([task], 1))
