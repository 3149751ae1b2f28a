"""PettingZoo's pistonball as a scenario. (test_parity.py and test_pictures.py: beside ours.)"""

import numpy as np
import pytest
from missing import hide

import marl
from marl.config.parsing import parse_config
from marl.errors import UserError
from marl.evaluation import evaluate
from marl.runs.loading import find_policy
from marl.training.loop import train
from marl.worlds.pistonball.world import PISTONS

pytest.importorskip("pymunk")
pytest.importorskip("supersuit")


@pytest.mark.parametrize(
    "settings",
    [
        {"actions": "discrete", "episode_length": 7},
        {"observe": "image", "picture_size": 36, "episode_length": 9},
    ],
)
def test_it_keeps_what_worlds_promise(settings):
    marl.check_world(marl.make("real_pistonball", num_worlds=2, num_agents=3, **settings))


def test_it_neither_draws_nor_observes_unless_asked():
    plain, shown = (
        marl.make("real_pistonball", num_agents=3, observe=what) for what in ("vectors", "image")
    )
    assert [world.envs[0].render_mode for world in (plain, shown)] == [None, "rgb_array"]
    assert plain.reset()[PISTONS].dtype == np.float32


def test_it_has_a_substep_for_each_piston():
    with pytest.raises(ValueError, match=r"world\.substeps is 5, but should be null: PettingZoo"):
        marl.make("real_pistonball", num_agents=3, substeps=5)
    marl.make("real_pistonball", num_agents=3, substeps=3)


def test_it_says_what_to_install(monkeypatch):
    hide(monkeypatch, "pymunk", "pettingzoo.butterfly.pistonball")
    with pytest.raises(UserError, match=r"pip install 'marl\[butterfly\]'") as refusal:
        marl.make("real_pistonball")
    assert "\n" not in str(refusal.value)


def test_only_pictures_need_supersuit(monkeypatch):
    hide(monkeypatch, "supersuit")
    marl.make("real_pistonball", num_agents=3)
    with pytest.raises(UserError, match="with pictures cannot be made: No module named"):
        marl.make("real_pistonball", num_agents=3, observe="image")


@pytest.mark.parametrize("observe", ["vectors", "image"])
def test_a_policy_of_ours_plays_the_real_game(data, observe):
    """Trained for a moment, in a row of another length."""
    config = {
        "world": {"scenario": "pistonball", "num_agents": 3, "actions": "discrete"},
        "agent": {"name": "iql", "hidden": [8]},
        "training": {"steps": 24, "num_worlds": 4, "learning_starts": 8, "update_every": 8}
        | {"batch_size": 4, "replay_size": 50, "evaluate_every": 0},
    }
    config["world"] |= {"observe": observe, "picture_size": 36, "episode_length": 3}
    train(parse_config(config), "a")
    found = find_policy("a", ["world.scenario=real_pistonball"])
    assert found.scenario == "real_pistonball"
    result = evaluate(found.policy, found.world_for(5), 5, 2, 0)
    assert -100 < result["return"] < 100
    for other, why in (("spread", "use a policy for that scenario"), ("sprea", "did you mean")):
        with pytest.raises(UserError, match=why):
            find_policy("a", [f"world.scenario={other}"])
