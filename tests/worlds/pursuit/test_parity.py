"""Pursuit against PettingZoo's pursuit_v5: the same starts, evaders' moves and actions give the
same observations, rewards, ends and states."""

import numpy as np
import pytest

from marl.worlds.pursuit import rules
from marl.worlds.registry import make
from marl.worlds.spaces import one_hot

WAYS = {way: number for number, way in enumerate(rules.MOVES)}
NAMES = {  # ours: theirs
    "num_agents": "n_pursuers",
    "num_evaders": "n_evaders",
    "freeze_evaders": "freeze_evaders",
    "episode_length": "max_cycles",
}


@pytest.fixture(autouse=True)
def _no_display(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


class Told:
    """A controller of evaders that plays what it is told, one evader after the other."""

    def __init__(self):
        self.moves = []

    def act(self, state):
        return self.moves.pop(0)


def real_environment(told, **settings):
    pursuit_v5 = pytest.importorskip("pettingzoo.sisl.pursuit_v5")
    theirs = {NAMES.get(name, name): value for name, value in settings.items()}
    env = pursuit_v5.parallel_env(evader_controller=told, **theirs)
    env.reset(seed=0)
    return env


def start_alike(env, state):
    """Put everybody of the real environment where they are in ours."""
    game = env.unwrapped.env
    layers = (game.pursuer_layer, state["pursuers"][0]), (game.evader_layer, state["evaders"][0])
    for channel, (layer, places) in enumerate(layers, start=1):
        for i, place in enumerate(places):
            layer.set_position(i, *place)
        game.model_state[channel] = layer.get_state_matrix()
    return np.stack([env.aec_env.observe(name).ravel() for name in env.agents])


def both_step(world, env, told, chosen):
    """A step of ours, then one of theirs, in which the evaders move as they did in ours."""
    before = world.state_dict()
    step = world.step({"pursuers": one_hot(chosen, 5)[None]})
    after = world.state_dict()
    free = after["free"][0]
    shift = (after["evaders"] - before["evaders"])[0]
    assert not shift[~free].any()
    told.moves = [WAYS[tuple(way)] for way in shift[free].tolist()]
    return step, env.step(dict(zip(env.agents, chosen.tolist(), strict=True)))


def compare(world, env, step, theirs):
    observation, reward, terminated, truncated, _ = theirs
    seen = np.stack([x.ravel() for x in observation.values()])
    np.testing.assert_array_equal(step.observation["pursuers"][0], seen)
    np.testing.assert_array_equal(world.state()[0], env.state().ravel())
    np.testing.assert_allclose(step.reward["pursuers"][0], [*reward.values()], atol=1e-5)
    assert step.terminated["pursuers"][0].tolist() == [*terminated.values()]
    assert step.truncated[0] == any(truncated.values())


def hunting(world, rng):
    """Actions that take pursuers to evaders beside them or in sight, now and then random."""
    seen = world.reset(np.zeros(1, bool))["pursuers"][0]
    side = world.scenario.obs_range
    weight = seen.reshape(len(seen), side, side, 3)[..., 2] + rng.uniform(0, 0.1)
    across = np.arange(side) - side // 2
    pull = np.stack([(weight * across).sum((1, 2)), (weight * across[:, None]).sum((1, 2))], 1)
    scores = pull @ np.array(rules.MOVES).T + rng.gumbel(size=(len(seen), 5))
    return np.where(rng.random(len(seen)) < 0.5, scores.argmax(1), rng.integers(5, size=len(seen)))


EIGHT = {"num_agents": 8, "num_evaders": 30, "x_size": 16, "y_size": 16}
SETTINGS = {
    "default": {},
    "own rewards": {**EIGHT, "shared_reward": False, "catch_reward": 2.0, "urgency_reward": -0.3},
    "small, wide view": {
        "num_agents": 5, "num_evaders": 6, "x_size": 9, "y_size": 7, "obs_range": 11,
        "episode_length": 200, "shared_reward": False,
    },
    "on the same cell": {
        "num_agents": 8, "num_evaders": 12, "x_size": 10, "y_size": 13, "obs_range": 5,
        "surround": False, "n_catch": 3, "tag_reward": 0.5, "shared_reward": False,
    },
    "frozen": {**EIGHT, "x_size": 8, "freeze_evaders": True, "n_catch": 1, "surround": False},
    "sees one cell": {"num_agents": 4, "num_evaders": 9, "x_size": 6, "y_size": 6, "obs_range": 1},
}  # fmt: skip


def play(settings, play_as, most=500):
    """Compare every step of an episode, or its first steps. Returns the last step."""
    told, rng = Told(), np.random.default_rng(1)
    world = make("pursuit", seed=3, **settings)
    env = real_environment(told, **settings)
    ours = world.reset()["pursuers"][0]
    np.testing.assert_array_equal(ours, start_alike(env, world.state_dict()))
    np.testing.assert_array_equal(world.state()[0], env.state().ravel())
    total, done, steps = 0.0, False, 0
    while not done and steps < most:
        random = rng.integers(5, size=len(env.agents))
        chosen = random if play_as == "random" else hunting(world, rng)
        step, theirs = both_step(world, env, told, chosen)
        compare(world, env, step, theirs)
        total += sum(theirs[1].values())
        done, steps = step.done[0], steps + 1
    assert done == (env.agents == [])
    assert step.metrics["return"][0] == pytest.approx(total, abs=1e-3)
    gone = 1 - len(env.unwrapped.env.evaders) / world.scenario.evader_count
    assert step.metrics["caught"][0] == pytest.approx(gone)
    return step


@pytest.mark.learning
@pytest.mark.parametrize("name", SETTINGS)
def test_it_is_pursuit_v5_for_whole_episodes(name):
    play(SETTINGS[name], "random")
    assert play(SETTINGS[name], "hunting").metrics["caught"] > 0


@pytest.mark.parametrize("name", SETTINGS)
def test_it_is_pursuit_v5_for_some_steps(name):
    play(SETTINGS[name], "hunting", 25)


@pytest.mark.parametrize("play_as", ["random", "hunting"])
def test_the_last_catch_ends_it_and_so_does_time(play_as):
    few = {"num_agents": 3, "num_evaders": 1, "x_size": 5, "y_size": 5, "n_catch": 1}
    last = play({**few, "surround": False}, play_as)
    assert last.terminated["pursuers"].all()
    assert not last.truncated[0]
    last = play({**few, "episode_length": 6}, play_as)
    assert last.truncated[0]
    assert not last.terminated["pursuers"].any()


def test_maps_of_all_sizes_are_theirs():
    maps = pytest.importorskip("pettingzoo.sisl.pursuit.utils.two_d_maps")
    for x in range(3, 60):
        for y in range(3, 60, 4):
            np.testing.assert_array_equal(rules.obstacle(x, y), maps.rectangle_map(x, y).T == -1)
