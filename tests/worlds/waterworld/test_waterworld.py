"""Waterworld: recorded games and statistics of the real `waterworld_v4` (record.py makes them), the
mended rules, and what worlds promise."""

import json
from pathlib import Path

import numpy as np
import pytest

from marl import check_world, make
from marl.rendering.frames import draw
from marl.worlds.waterworld.world import Waterworld

HERE = Path(__file__).parent
GOLDEN = np.load(HERE / "golden.npz")
STATISTICS = json.loads((HERE / "statistics.json").read_text())
CODED = {"obstacle_radius": 0.1, "pursuer_max_accel": 0.5, "evader_speed": 0.1,
         "poison_speed": 0.1}  # fmt: skip
GAMES = {
    "documented": {},
    "fast": {**CODED, "local_ratio": 0.3, "num_poison": 14},
    "alone": {**CODED, "num_agents": 1, "n_coop": 1, "speed_features": False, "n_sensors": 11},
    "jostled": {"num_agents": 1, "num_food": 1, "num_poison": 1},
}
EVERY = 8  # steps, between the recorded states


def put(world, **values):
    """Set arrays of the state in all worlds, and return what agents then observe."""
    state = world.state_dict()
    for name, value in values.items():
        state[name][:] = value
    world.load_state_dict(state)
    return world.reset(np.zeros(world.num_worlds, bool))["pursuers"]


def anew(world, events):
    """Put food and poison where they began anew in the real game: [[step, body, x, y, vx, vy]]."""
    state = world.state_dict()
    for _, body, *values in events:
        state["position"][0, int(body)], state["velocity"][0, int(body)] = values[:2], values[2:]
    return put(world, position=state["position"], velocity=state["velocity"])


@pytest.mark.parametrize("name", GAMES)
def test_games_of_the_real_one(name):
    """Agents hunt food over 200 steps, through walls, obstacle, food and poison, or (jostled) are
    thrown against walls. Bodies that begin anew or are thrown are put where the real ones were; all
    else follows from the first state and the actions."""
    start, actions, rewards, states, seen, events = (
        GOLDEN[f"{name}.{what}"]
        for what in ("start", "actions", "rewards", "states", "observations", "anew")
    )
    world = make("waterworld", **GAMES[name])
    world.reset()
    put(world, position=start[:, :2], velocity=start[:, 2:])
    for t, action in enumerate(actions):
        turn = world.step({"pursuers": action[None]})
        observation = turn.observation["pursuers"]
        now = events[events[:, 0] == t]
        if len(now):
            observation = anew(world, now)
        np.testing.assert_allclose(turn.reward["pursuers"][0], rewards[t], atol=1e-6, err_msg=t)
        if t % EVERY == 0:
            state = world.state_dict()
            found = np.concatenate([state["position"][0], state["velocity"][0]], -1)
            np.testing.assert_allclose(found, states[t // EVERY], atol=1e-6, err_msg=t)
            np.testing.assert_allclose(observation[0], seen[t // EVERY], atol=1e-6, err_msg=t)


def greedy(seen, rays):
    """As in record.py, for all worlds at once."""
    near = seen[..., 2 * rays : 3 * rays]
    angle = near.argmin(-1) * (2 * np.pi / rays)
    way = np.stack([np.cos(angle), np.sin(angle)], -1) * (near.min(-1) < 1)[..., None]
    return way.astype(np.float32)


def play(world, policy, steps=500):
    """The last step of whole episodes of random, still or greedy agents."""
    seen, rng = world.reset()["pursuers"], np.random.default_rng(0)
    for _ in range(steps):
        actions = rng.uniform(-1, 1, (*seen.shape[:2], 2)).astype(np.float32)
        if policy == "still":
            actions[:] = 0
        elif policy == "greedy":
            actions = greedy(seen, world.scenario.n_sensors)
        turn = world.step({"pursuers": actions})
        seen = turn.observation["pursuers"]
    return turn


@pytest.mark.parametrize("policy", ["random", "still", "greedy"])
def test_statistics_of_the_real_one(policy):
    """Total, food and poison over 500 steps: within the 99 % interval of the difference, for the
    three together. The totals of all agents are `return`, `food` and `poison` times 5."""
    worlds, theirs = 100, STATISTICS[policy]
    turn = play(make("waterworld", num_worlds=worlds, seed=1), policy)
    assert turn.truncated.all()
    ours = 5 * np.array([turn.metrics[name] for name in Waterworld.metrics])
    error = np.hypot(theirs["error"], ours.std(1) / worlds**0.5)
    assert (np.abs(ours.mean(1) - theirs["mean"]) < 2.94 * error).all()


def test_food_needs_more_agents_each_time():
    """In v4, two agents that leave together leave a count of -1 behind, so a third is needed. The
    mended rules pay all three agents who touch, once, and two agents next time, too."""
    for legacy, first, second in ((True, [0, 1, 1], [0, 0, 0]), (False, [1, 1, 1], [1, 1, 0])):
        world = make("waterworld", num_agents=3, num_poison=0, num_food=1, legacy=legacy,
                     evader_speed=0, encounter_reward=0, num_obstacles=0)  # fmt: skip
        world.reset()
        away, paid = np.array([[0.1, 0.1], [0.1, 0.9], [0.9, 0.1]]), []
        for touching in (3, 0, 2, 0):
            at = np.where(np.arange(3)[:, None] < touching, 0.5, away)
            put(world, position=np.array([*at, [0.5, 0.5]]), velocity=0)
            turn = world.step({"pursuers": np.zeros((1, 3, 2), np.float32)})
            paid.append((turn.reward["pursuers"][0] / 10).round().tolist())
        assert paid[0] == first
        assert paid[2] == second
        # v4 pays again, the first one that leaves after enough have touched.
        assert paid[1] == ([1, 0, 0] if legacy else [0, 0, 0])


def still_at(position, velocity=0.0, **settings):
    """One agent without food and poison, after one step without thrust."""
    world = make("waterworld", num_agents=1, num_food=0, num_poison=0, **settings)
    world.reset()
    put(world, position=position, velocity=velocity)
    turn = world.step({"pursuers": np.zeros((1, 1, 2), np.float32)})
    return turn.observation["pursuers"][0, 0], world.state_dict()


def test_rays_by_hand():
    """An agent 0.1 below the upper wall; one 0.32 right of the middle of an obstacle of radius 0.2,
    whose edge a ray reaches, but v4 counts the way to the centre; one 0.17 beside a small one."""
    seen, _ = still_at([0.5, 0.9], n_sensors=4, obstacle_radius=0.1)
    np.testing.assert_allclose(seen[:8], [1, 1, 1, 1, 1, 0.5, 1, 1], atol=1e-6)
    seen, _ = still_at([0.82, 0.5], n_sensors=4)
    np.testing.assert_allclose(seen[:8], [1, 1, 1, 1, 0.9, 1, 1, 1], atol=1e-6)
    seen, _ = still_at([0.67, 0.5], n_sensors=4, obstacle_radius=0.1)
    np.testing.assert_allclose(seen[:4], [1, 1, 0.85, 1], atol=1e-6)


@pytest.mark.parametrize("legacy", [True, False])
def test_what_else_is_mended(legacy):
    """Obstacles push at the radius that is seen; a single agent senses no others; the last agent
    pays once; bodies begin off the obstacles."""
    seen, state = still_at([0.69, 0.5], [[-0.1, 0.0]], legacy=legacy)
    np.testing.assert_allclose(state["velocity"][0, 0], [-0.1 if legacy else 0.1, 0], atol=1e-9)
    assert (seen[180:210] == (0 if legacy else 1)).all()
    world = make("waterworld", num_agents=2, num_food=0, num_poison=300, legacy=legacy,
                 poison_reward=0)  # fmt: skip
    world.reset()
    away = np.linalg.norm(world.state_dict()["position"] - 0.5, axis=-1)
    assert (away.min() < 0.2) == legacy
    turn = world.step({"pursuers": np.full((1, 2, 2), 0.5, np.float32)})
    cost = -0.5 * 0.01 * 0.5**0.5
    np.testing.assert_allclose(turn.reward["pursuers"], [[cost, (1 + legacy) * cost]], rtol=1e-5)


def test_what_grows_with_the_agents():
    world = Waterworld(num_agents=2, num_food=2, num_poison=4).with_agents(20)
    assert (world.num_food, world.num_poison, world.size) == (20, 40, 1.0)
    roomy = Waterworld(keep_density=True).with_agents(20)
    assert (roomy.num_food, roomy.num_poison, roomy.size) == (20, 40, 2.0)
    assert Waterworld(keep_density=True).with_agents(1).size == pytest.approx(0.2**0.5)
    assert roomy.groups["pursuers"].observation_space.shape == (242,)
    seen = make("waterworld", **roomy.model_dump()).reset()["pursuers"]
    assert seen.shape == (1, 20, 242)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_agents": 1, "num_food": 0, "num_poison": 0, "num_obstacles": 0},
        {"num_agents": 20, "num_food": 20, "num_poison": 40, "num_obstacles": 3, "legacy": False},
        {"speed_features": False, "n_sensors": 7, "size": 2.0, "local_ratio": 0.5},
        {"actions": "discrete"},
    ],
)
def test_it_keeps_what_worlds_promise_and_is_drawn(settings):
    world = make("waterworld", num_worlds=3, episode_length=9, **settings)
    check_world(world)
    assert draw(world.scene(1)).std() > 0


def test_choices_are_full_thrusts():
    thrusts = np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)], np.float32)
    free, choosing = (make("waterworld", seed=5, actions=x) for x in ("continuous", "discrete"))
    np.testing.assert_array_equal(*(w.reset()["pursuers"] for w in (free, choosing)))
    random = np.random.default_rng(0)
    for _ in range(20):
        way = random.integers(5, size=(1, 5))
        one = free.step({"pursuers": thrusts[way]})
        other = choosing.step({"pursuers": np.eye(5, dtype=np.float32)[way]})
        for a, b in ((one.observation, other.observation), (one.reward, other.reward)):
            np.testing.assert_array_equal(a["pursuers"], b["pursuers"])


def test_worlds_side_by_side_are_single_worlds():
    many, seeds = make("waterworld", num_worlds=3, **CODED), [4, 9, 11]
    many.reseed(seeds)
    together = play(many, "greedy", 60)
    for world, seed in enumerate(seeds):
        alone = play(make("waterworld", seed=seed, **CODED), "greedy", 60)
        assert alone.metrics["poison"][0] > 0  # which begins anew by chance
        np.testing.assert_array_equal(
            alone.observation["pursuers"][0], together.observation["pursuers"][world]
        )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"obstacle_radius": 0.5},
            "world.obstacle_radius is 0.5, but should be less than or equal",
        ),
        ({"num_agents": 0}, "world.num_agents is 0, but should be greater than or equal to 1"),
        ({"num_foods": 3}, "num_foods"),
    ],
)
def test_bad_settings_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        make("waterworld", **settings)
