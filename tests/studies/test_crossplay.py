"""Sides of runs against each other: who plays what, means and intervals, the command."""

import json

import numpy as np
import pytest
from tiny import TINY

from marl import evaluation
from marl.agents.core.base import Needs, Policy
from marl.cli import main
from marl.config.parsing import parse_config, with_settings
from marl.errors import UserError
from marl.policies.mixed import Mixed
from marl.rollout import collect
from marl.runs.loading import find_policy
from marl.studies.crossplay import Crossplay
from marl.studies.entries import gather
from marl.studies.measurements import measure, plan
from marl.training.loop import train
from marl.worlds.registry import SCENARIOS, make

WORLD = {"scenario": "tag", "episode_length": 5}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of tag that differ in their agents, the one with two seeds; one of spread."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MARL_DATA", str(tmp_path_factory.mktemp("data")))
        short = {**TINY, "exploration": {}, "world": WORLD}
        for name, agent, seed in (("m-0", "maddpg", 0), ("m-1", "maddpg", 1), ("d", "ddpg", 0)):
            settings = [f"agent.name={agent}", f"training.seed={seed}", "training.steps=40"]
            train(parse_config(with_settings(short, settings)), name)
        train(parse_config(with_settings(TINY, ["training.steps=40"])), "s")
        yield


class Says(Policy):
    """Every group acts by a number of its own; counts what it is asked."""

    def __init__(self, number, knows=(0, 0)):
        self.number, self.needs, self.resets = number, Needs(knows), 0

    def perceive(self, view):
        return {g: np.full_like(x, self.number) for g, x in view.observation.items()}

    def act(self, perceived, explore=False):
        return {g: np.full((*x.shape[:2], 2), x[0, 0, 0]) for g, x in perceived.items()}

    def reset(self, mask=None):
        self.resets += 1


def test_every_group_plays_as_its_own_policy():
    world = make("world_comm", num_worlds=2, episode_length=3, actions="discrete")

    class Wide(Says):
        def act(self, perceived, explore=False):
            sizes = {g: x.action_space.shape[0] for g, x in world.groups.items()}
            return {g: np.full((*x.shape[:2], sizes[g]), x[0, 0, 0]) for g, x in perceived.items()}

    one, other = Wide(0.25), Wide(0.75)
    mixed = Mixed({"leader": one, "adversaries": one, "good": other})
    turns = collect(world, mixed)
    for _ in range(4):
        actions = next(turns).transition.action
        assert {g: x.flat[0] for g, x in actions.items()} == {
            "leader": 0.25, "adversaries": 0.25, "good": 0.75,
        }  # fmt: skip
    assert one.resets == other.resets == 2
    assert Mixed({"a": Says(0, (3, 1)), "b": Says(0, (1, 4))}).needs.neighbours == (3, 4)


def test_pairings_are_what_their_runs_reach(runs):
    played = Crossplay(["m-0", "m-1", "d"], 3, 7)
    assert [len(policy.runs) for policy in played.policies] == [2, 1]
    said = list(played.play(1))
    assert len(said) == 9
    assert said[0].startswith("1 of 9: m-0 against m-0, N=4: touches ")
    assert {k: x["touches"].shape for k, x in played.values.items()} == {
        (0, 0): (2, 2, 3), (0, 1): (2, 1, 3), (1, 0): (1, 2, 3), (1, 1): (1, 1, 3),
    }  # fmt: skip
    # A run against itself is the run.
    alone = evaluation.evaluate(find_policy("d").policy, played.world, 4, 3, 7)
    assert played.values[1, 1]["touches"].mean() == alone["touches"]
    assert played.values[1, 1]["reward_good"].mean() == alone["reward_good"]

    # Adversaries of the second seed against the good ones of the other agent.
    def mixed(world, seed):
        hunters, prey = (find_policy(name).policy(world, seed) for name in ("m-1", "d"))
        return Mixed({"adversaries": hunters, "good": prey})

    expected = evaluation.measure(mixed, played.world, 4, 3, 7)
    found = played.values[0, 1]
    np.testing.assert_array_equal(found["reward_good"][1, 0], expected["reward_good"])
    assert (found["reward_good"][0, 0] != expected["reward_good"]).any()


def test_what_was_played_is_kept(runs):
    for _ in Crossplay(["m-0", "d"], 2, 8).play(1):
        pass
    more = Crossplay(["m-0", "m-1"], 2, 8)
    assert next(more.play(1)) == "1 of 4 measurements were made before"
    (entry,), _ = gather(["d"])
    (task,) = plan(entry, 4, 2, 8)  # a run against itself is the run
    assert list(measure([task], 1)) == ["1 of 1 measurements were made before"]


def test_the_command(runs, capsys, tmp_path):
    file = tmp_path / "out.json"
    with pytest.raises(SystemExit) as stop:
        main(["crossplay", "m-0", "d", "--episodes", "2", "--workers", "1", "--json", str(file)])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert "touches: adversaries \\ good" in printed
    assert printed.count("[") == 4
    stored = json.loads(file.read_text())
    assert len(stored) == 4
    assert {"adversaries", "good", "touches", "touches_ci95", "reward_good"} <= stored[0].keys()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["s"], "the scenario 'spread' has 1 side, but should have 2"),
        (["d", "s"], "s plays 'spread' and d plays 'tag': only policies of one scenario"),
        (["nobody"], "nobody"),
    ],
)
def test_what_cannot_meet_is_said(runs, names, said):
    with pytest.raises(UserError, match=said):
        Crossplay(names, None, None)


def test_policies_that_do_not_fit_are_said(runs):
    settings = ["world.num_good=2", "training.steps=40", "exploration.kind=gaussian"]
    train(parse_config(with_settings({**TINY, "world": WORLD}, settings)), "two")
    with pytest.raises(UserError, match="does not fit"):
        list(Crossplay(["d", "two"], 2, None).play(1))


def test_sides_hold_every_group_once():
    for name, scenario in SCENARIOS.items():
        groups = [g for side in scenario.sides for g in side]
        assert not groups or sorted(groups) == sorted(scenario().groups), name
