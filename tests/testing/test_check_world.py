"""check_world passes sound worlds and names what is wrong with broken ones."""

from dataclasses import replace

import numpy as np
import pytest
from gymnasium.spaces import Box

from marl.testing.check_world import check_world
from marl.worlds.base import Step, World
from marl.worlds.registry import make
from marl.worlds.scene import Scene
from marl.worlds.spaces import Group, Part


class Walk(World):
    """Two agents walk on a line; whoever passes 1 is through. Sound."""

    def __init__(self):
        self.num_worlds = 3
        self.groups = {
            "walkers": Group(
                ("ann", "bob"),
                Box(-np.inf, np.inf, (4,), np.float32),
                Box(-1.0, 1.0, (1,), np.float32),
                (Part("place", scalars=1), Part("seen", 1, 1, 1, masked=True)),
                (Part("push", scalars=1),),
            )
        }
        self.place = np.zeros((3, 2), np.float32)
        self.time = np.zeros(3, np.int64)
        self.resets = np.zeros(1, np.int64)

    def look(self):
        rows = np.zeros((3, 2, 4), np.float32)
        rows[..., 0] = self.place
        rows[..., 1] = self.place[:, ::-1] - self.place
        rows[..., 3] = 1.0
        return {"walkers": rows}

    def reset(self, mask=None):
        mask = np.ones(3, bool) if mask is None else mask
        rng = np.random.default_rng(self.resets)
        self.place[mask] = rng.uniform(-1, 0, (mask.sum(), 2))
        self.resets = self.resets + 1
        self.time[mask] = 0
        return self.look()

    def step(self, actions):
        self.place += 0.5 * actions["walkers"][..., 0]
        self.time += 1
        through, late = self.place > 1, self.time >= 5
        return Step(
            self.look(),
            {"walkers": self.place.copy()},
            {"walkers": through},
            late,
            {"walkers": ~through},
            late | through.all(1),
            {"place": self.place.mean(1)},
        )

    def state(self):
        return self.place.copy()

    def scene(self, world=0):
        positions = np.stack([self.place[world], np.zeros(2, np.float32)], 1)
        return Scene((2.0, 1.0), positions, np.ones(2, np.float32), np.full((2, 4), 255, np.uint8))

    def state_dict(self):
        return {"place": self.place.copy(), "time": self.time.copy(), "resets": self.resets}

    def load_state_dict(self, state):
        self.place, self.time = state["place"].copy(), state["time"].copy()
        self.resets = state["resets"]


def changed(**fields):
    """A step() that returns something else in some fields: functions of what it was."""

    def step(self, actions):
        result = Walk.step(self, actions)
        return result._replace(**{k: change(getattr(result, k)) for k, change in fields.items()})

    return step


def of_walkers(change):
    return lambda arrays: {"walkers": change(arrays["walkers"])}


def with_nan(rows):
    rows = rows.copy()
    rows[0, 0] = np.nan
    return rows


def unpadded(self):
    """Says that nobody is seen, but shows where they are."""
    rows = Walk.look(self)
    rows["walkers"][..., 3] = 0.0
    return rows


def reset_all(self, mask=None):
    return Walk.reset(self)


def reset_draws(self, mask=None):
    """Moves everybody a bit, whatever the mask."""
    observation = Walk.reset(self, mask)
    self.place += 1e-3
    return observation


def look_in_place(self):
    rows = Walk.look(self)["walkers"]
    self.rows = getattr(self, "rows", rows)
    self.rows[:] = rows
    return {"walkers": self.rows}


def eat_actions(self, actions):
    result = Walk.step(self, actions)
    actions["walkers"][:] = 0
    return result


def without_time(self):
    return {**Walk.state_dict(self), "time": np.zeros(3, np.int64)}


def without_random(self, state):
    Walk.load_state_dict(self, {**state, "resets": self.resets})


def shared_state(self):
    return {**Walk.state_dict(self), "place": self.place}


def wrong_scene(self, world=0):
    return replace(Walk.scene(self, world), radii=np.ones(5, np.float32))


def empty_scene(self, world=0):
    return replace(Walk.scene(self, world), half_size=(0.0, 1.0))


def restless(self, actions):
    self.place += np.random.default_rng().normal(0, 0.01, self.place.shape).astype(np.float32)
    return Walk.step(self, actions)


def crowded(self, actions):
    return Walk.step(self, {"walkers": actions["walkers"] - 0.1 * actions["walkers"].mean(0)})


BROKEN = {
    "chance of its own": ({"step": restless}, "chance comes from elsewhere than the seed"),
    "worlds that push each other": ({"step": crowded}, "first world depends on .* the others"),
    "reward shape": ({"step": changed(reward=of_walkers(lambda x: x[:, :1]))}, "Step.reward"),
    "reward dtype": (
        {"step": changed(reward=of_walkers(lambda x: x.astype(float)))},
        "float64; float32 is needed",
    ),
    "reward of nobody": ({"step": changed(reward=lambda x: {"a": x["walkers"]})}, "the groups are"),
    "reward nan": ({"step": changed(reward=of_walkers(with_nan))}, "not finite"),
    "done": ({"step": changed(done=np.zeros_like)}, "Step.done must be true where"),
    "terminated": (
        {"step": changed(terminated=of_walkers(lambda x: x.astype(np.float32)))},
        "Step.terminated.*bool is needed",
    ),
    "truncated": ({"step": changed(truncated=lambda x: x[:2])}, "Step.truncated.*shape"),
    "metrics": ({"step": changed(metrics=lambda x: {"place": x["place"][0]})}, "Step.metrics"),
    "no step": ({"step": lambda self, actions: None}, "must return a Step"),
    "actions": ({"step": eat_actions}, "must not change the actions"),
    "observation": (
        {"step": changed(observation=of_walkers(lambda x: x[..., :3]))},
        "Step.observation.*shape",
    ),
    "padding": ({"look": unpadded}, "padding in part 'seen'"),
    "arrays reused": ({"look": look_in_place}, "changed after it was handed out"),
    "reset of all": ({"reset": reset_all}, "must not change anything"),
    "reset moves all": ({"reset": reset_draws}, "must not change anything"),
    "state": ({"state": lambda self: self.place[0].copy()}, "two axes"),
    "clock not stored": ({"state_dict": without_time}, "after load_state_dict"),
    "random not stored": ({"load_state_dict": without_random}, "after load_state_dict"),
    "state of lists": (
        {"state_dict": lambda self: {"place": self.place.tolist()}},
        "state_dict\\(\\)\\['place'\\] is a list, not an array",
    ),
    "state shared": ({"state_dict": shared_state}, "changed by later steps"),
    "scene": ({"scene": wrong_scene}, "radii"),
    "scene without size": ({"scene": empty_scene}, "two positive numbers"),
}


def test_a_sound_world_passes():
    check_world(Walk())


@pytest.mark.parametrize("parameters", [{}, {"num_agents": 2, "episode_length": 4}])
def test_spread_passes(parameters):
    check_world(make("spread", num_worlds=3, seed=0, **parameters))


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_world_is_found_out(name):
    methods, sentence = BROKEN[name]
    with pytest.raises(AssertionError, match=sentence):
        check_world(type("Broken", (Walk,), methods)())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"names": ()}, "no agents"),
        ({"names": ("ann", "ann")}, "two agents of one name"),
        ({"action_space": Box(-2.0, 2.0, (1,))}, "from -1 to 1"),
        (
            {"action_parts": (Part("letter", scalars=1, choice=True),)},
            r"from -1 to 1 \(choices: from 0\)",
        ),
        ({"observation_space": Box(-1.0, 1.0, (2, 2))}, "one axis"),
        ({"observation_parts": (Part("own", scalars=3),)}, "add up to 3"),
        ({"observation_parts": (Part("seen", 2, 1, masked=True),)}, "no scalar to say so"),
    ],
)
def test_a_broken_group_is_found_out(change, sentence):
    world = Walk()
    world.groups = {"walkers": replace(world.groups["walkers"], **change)}
    with pytest.raises(AssertionError, match=sentence):
        check_world(world)
