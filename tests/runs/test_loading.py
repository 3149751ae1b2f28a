import warnings

import pytest
from tiny import TINY

import marl
from marl.cli import main
from marl.config.parsing import parse_config
from marl.errors import PolicyWarning
from marl.runs.frozen import resolve_frozen
from marl.training.loop import train
from marl.worlds.registry import make

OTHER = "a was trained with world.integration=semi_implicit and plays with explicit, in which"


@pytest.fixture
def trained(data):
    train(parse_config(TINY), "a")


def test_a_policy_in_the_other_order_of_integration_plays_with_a_warning(trained):
    world = make("spread", integration="explicit")
    with pytest.warns(PolicyWarning, match=OTHER) as seen:
        marl.load_policy("a", world).act(world.reset())
    assert seen[0].filename == __file__


def test_no_warning_in_the_order_of_training(trained):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        marl.load_policy("a", make("spread"))
        marl.load_policy("a")


def test_evaluate_warns_in_one_line(trained, capsys):
    command = ["evaluate", "a", "--episodes", "1", "--set", "world.integration=explicit"]
    for arguments, lines in ((command, 1), (command[:-2], 0)):
        with warnings.catch_warnings(), pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
        assert capsys.readouterr().err.count(f"marl: warning: {OTHER}") == lines


def test_weights_of_a_run_that_has_not_ended_are_named(trained, capsys, monkeypatch):
    """Those of `trained`, which has ended, are not: see above."""
    steps = 10 * TINY["training"]["steps"]
    training = {**TINY["training"], "steps": steps, "checkpoint_every": 8}

    def stop(session):
        raise RuntimeError("killed")

    monkeypatch.setattr("marl.training.session.Session.log", stop)
    with pytest.raises(RuntimeError):
        train(parse_config({**TINY, "training": training}), "cut")
    for command in (["evaluate", "cut", "--episodes", "1"], ["evaluate", "a", "--episodes", "1"]):
        with pytest.raises(SystemExit) as end:
            main(command)
        assert end.value.code == 0
        said = capsys.readouterr().err
        sentence = f"the weights of cut are those of step 32 of {steps}"
        assert (said == f"marl: warning: {sentence}\n") == ("cut" in command)
    with pytest.warns(PolicyWarning, match=sentence) as seen:
        marl.load_policy("cut")
    assert seen[0].filename == __file__
    config = {**TINY, "agents": {"agents": {"frozen": "cut"}}}
    with pytest.warns(PolicyWarning, match=f"the weights of agents.agents.frozen are .* {steps}"):
        resolve_frozen(parse_config(config))
