"""PettingZoo's promises: who has left, by either signal; sentences for environments that break
them, before and during play."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Tuple
from small_env import Small, at

from marl.errors import WorldFailed
from marl.worlds.pettingzoo.world import PettingZooWorld

CHOICES = {"a": np.tile(np.array([1, 0], np.float32), (1, 2, 1))}


def played(change, steps=3, **settings):
    world = PettingZooWorld(lambda: Small(change, **settings), processes=0)
    world.reset()
    return [world.step(CHOICES) for _ in range(steps)]


def keep_listed(env, name, answer):
    env.agents = [*env.possible_agents]
    return answer


def flagged(env, observation, reward, terminations, truncations, infos):
    terminations["a_1"] = True


def unlisted(env, *answer):
    env.agents = ["a_0"]


def fallen_silent(env, name, answer):
    return answer if env.time < 2 else tuple({"a_0": x["a_0"]} for x in answer)


def test_an_episode_is_over_if_all_are_truncated_but_still_listed():
    steps = played(keep_listed)
    assert [s.done[0] for s in steps] == [s.truncated[0] for s in steps] == [False, False, True]
    assert not any(s.terminated["a"].any() for s in steps)
    assert steps[-1].observation["a"][0].tolist() == [[4], [4]]  # the true last one


@pytest.mark.parametrize("keep", [True, False])
def test_an_agent_that_is_terminated_has_left(keep):
    def change(env, name, answer):
        answer = at(2, flagged)(env, name, answer)
        if not keep and env.time >= 2:
            env.agents = [x for x in env.agents if x != "a_1"]
        return answer

    steps = played(change)
    assert [s.active["a"][0].tolist() for s in steps] == [[1, 1], [1, 0], [0, 0]]
    assert [s.terminated["a"][0].tolist() for s in steps] == [[0, 0], [0, 1], [0, 1]]
    assert [s.present["a"][0].tolist() for s in steps] == [[1, 1], [1, 1], [1, 0]]
    assert [s.reward["a"][0].tolist() for s in steps] == [[1, 1], [1, 1], [1, 0]]
    assert steps[2].observation["a"][0, 1] == 0


@pytest.mark.parametrize("change", [at(2, unlisted), fallen_silent])
def test_an_agent_that_vanishes_without_a_flag_is_terminated(change):
    steps = played(change)
    assert [s.terminated["a"][0].tolist() for s in steps] == [[0, 0], [0, 1], [0, 1]]
    assert [s.active["a"][0].tolist() for s in steps] == [[1, 1], [1, 0], [0, 0]]


def test_when_all_vanish_without_a_flag_the_episode_is_over():
    def change(env, name, answer):
        if env.time == 2:
            env.agents = []
            return {}, {}, {}, {}, {}
        return answer

    last = played(change, 2)[-1]
    assert last.done[0]
    assert not last.truncated[0]
    assert last.terminated["a"].all()


def put(dictionary, value, agent="a_1"):
    """A change of the second step: one agent's entry of a dictionary (0: observations...)."""

    def change(env, *answer):
        answer[dictionary][agent] = value

    return at(2, change)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("processes", [0, 1])
def test_what_breaks_later_fails_in_the_same_words(processes, tmp_path, monkeypatch):
    (tmp_path / "later.py").write_text(
        "import small_env\n"
        "def make():\n"
        "    def change(env, *answer):\n"
        "        answer[1]['a_1'] = float('nan')\n"
        "    return small_env.Small(small_env.at(130, change), 200)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    world = PettingZooWorld("later:make", processes=processes)
    world.reset()
    for _ in range(129):
        world.step(CHOICES)
    with pytest.raises(WorldFailed) as failure:
        world.step(CHOICES)
    said = "small_v0: the reward of 'a_1' at step 130 is nan, but should be a finite number"
    assert str(failure.value) == said
    world.close()


def swap(method, answer):
    return lambda env, name, given: answer(given) if name == method else given


MASKED = Dict({"place": Box(-9, 9, (2,)), "kind": Discrete(3)})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"change": put(0, np.array([NAN]))}, "observation of 'a_1' at step 2 holds nan"),
        ({"change": put(0, np.array([None]))}, "observation of 'a_1' at step 2 holds nan"),
        ({"change": put(0, np.array([-INF]))}, "observation of 'a_1' at step 2 holds -inf"),
        ({"change": put(0, np.array([1e300]))}, "observation of 'a_1' at step 2 holds inf"),
        ({"change": put(0, None)}, "observation of 'a_1' at step 2 is None"),
        ({"change": put(0, 1.0)}, r"observation of 'a_1' .* the shape \(\), but its space \(1,\)"),
        ({"change": put(0, np.zeros(2))}, r"has the shape \(2,\), but its space \(1,\)"),
        (
            {"change": put(0, np.array([NAN])), "see": Box(0, 255, (1,), np.uint8)},
            "observation of 'a_1' at step 2 holds nan",
        ),
        ({"change": put(1, NAN)}, "reward of 'a_1' at step 2 is nan, but should be a finite"),
        ({"change": put(1, INF)}, "reward of 'a_1' at step 2 is inf"),
        ({"change": put(1, 1e39)}, "reward of 'a_1' at step 2 is 1e.39, but"),
        ({"change": put(1, None)}, "reward of 'a_1' at step 2 is None, but should be one number"),
        ({"change": put(1, "much")}, "reward of 'a_1' at step 2 is 'much', but should be one"),
        ({"change": put(1, np.zeros(2))}, r"is an array of the shape \(2,\), but should be one"),
        ({"change": at(2, lambda env, *answer: answer[5])}, "failed when it was tried: IndexError"),
        ({"see": Discrete(3)}, r"observation of 'a_0' at step 0 is array\(\[1"),
        ({"see": Tuple([Discrete(3)] * 2)}, "observation of 'a_0' at step 0 is an array"),
        ({"see": MASKED}, "observation of 'a_0' at step 0 is an array of the shape"),
        ({"change": swap("reset", lambda x: x[0])}, r"reset\(\) returns .*a tuple of two"),
        ({"change": swap("step", lambda x: x[1:])}, r"step\(\) returns a tuple of 4, but .* five"),
        (
            {"change": swap("step", lambda x: (list(x[0].values()), *x[1:]))},
            "its observations are .*, but should be a dictionary",
        ),
        ({"change": swap("reset", lambda x: ({"a_0": x[0]["a_0"]}, {}))}, "'a_1' at .* is missing"),
        (
            {"change": at(1, lambda env, *answer: answer[0].pop("a_1"))},
            "observation of 'a_1' at step 1 is missing",
        ),
        (
            {"change": at(1, lambda env, *answer: answer[1].pop("a_1"))},
            "reward of 'a_1' at step 1 is missing",
        ),
        (
            {"change": at(3, lambda env, *answer: answer[0].clear())},
            "observation of 'a_0' at step 3 is missing",
        ),
        (
            {"change": at(1, lambda env, *answer: env.agents.append("b_7"))},
            "'b_7' is among its agents at step 1, but not among its possible_agents: a_0, a_1",
        ),
    ],
)
def test_it_is_tried_before_it_is_played(settings, said):
    with pytest.raises(ValueError, match=f"^small_v0.*{said}"):
        PettingZooWorld(lambda: Small(**settings), processes=0)


def test_what_is_no_parallel_environment():
    class Nothing:
        possible_agents = ("a",)

    with pytest.raises(ValueError, match="Nothing has no observation_space: it is no parallel"):
        PettingZooWorld(Nothing, processes=0)


@pytest.mark.parametrize("names", [[0, 1], [("a", 1), "b"]])
def test_names_of_agents_are_text(names):
    class Numbered(Small):
        def __init__(self):
            super().__init__()
            self.possible_agents = names

    with pytest.raises(ValueError, match="small_v0: its agents should have names that are text"):
        PettingZooWorld(Numbered, processes=0)


def test_observations_of_parts_are_checked_part_by_part():
    space = Dict({"kind": MultiDiscrete([2, 3]), "place": Box(-9, 9, (2,))})
    sound = {"kind": np.array([1, 2]), "place": np.zeros(2)}

    def make(**other):
        return lambda: Small(
            lambda env, name, answer: (env.everybody({**sound, **other}), *answer[1:]),
            see=space, length=200,
        )  # fmt: skip

    world = PettingZooWorld(make(), processes=0)
    assert world.reset()["a"][0, 0].tolist() == [0, 1, 0, 0, 1, 0, 0]
    for other in ({"place": 0.0}, {"kind": np.array([1, 3])}):
        with pytest.raises(ValueError, match=r"^small_v0: the observation of 'a_0' at step 0 "):
            PettingZooWorld(make(**other), processes=0)
