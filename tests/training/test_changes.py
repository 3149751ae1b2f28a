"""Settings that resume refuses, because they would change nothing."""

import re

import pytest
from tiny import TINY

from marl.config.parsing import parse_config, with_settings
from marl.errors import UserError
from marl.runs.run import Run
from marl.training.changes import check_changes
from marl.training.loop import resume, train

TAG = {"world": {"scenario": "tag"}}
FROZEN = {**TAG, "agents": {"good": {"name": "ddpg", "frozen": "a"}}}


@pytest.mark.parametrize(
    ("data", "setting", "sentence"),
    [
        ({}, "training.seed=5", "training.seed cannot be changed from 0 to 5"),
        ({}, "training.staggered=false", "training.staggered cannot be changed from True to False"),
        ({}, "training.num_worlds=8", "training.num_worlds cannot be changed from 64 to 8"),
        ({}, "training.steps=99", "training.steps is 99, but the run is at step 100 already"),
        (FROZEN, "agents.good.frozen=b", "agents.good.frozen cannot be changed from 'a' to 'b'"),
    ],
)
def test_refused(data, setting, sentence):
    data = {**data, "agent": {"name": "ddpg"}}
    before, after = (parse_config(with_settings(data, x)) for x in ([], [setting]))
    with pytest.raises(UserError, match=re.escape(sentence)):
        check_changes(before, after, 100)


@pytest.mark.parametrize("setting", ["training.seed=0", "training.steps=100", "agent.gamma=0.5"])
def test_allowed(setting):
    before, after = (parse_config(with_settings({}, x)) for x in ([], [setting]))
    check_changes(before, after, 100)


def test_a_refused_run_stays_as_it_was(data):
    config = parse_config(with_settings(TINY, ["training.steps=200"]))
    train(config, "a")
    files = Run("a").state, Run("a").weights, Run("a").stats / "config.json"
    before = [file.read_bytes() for file in files]
    for setting, sentence in (
        ("training.seed=5", "training.seed cannot"),
        ("training.replay_size=200", "training.replay_size is 200, but a full replay of 150"),
    ):
        with pytest.raises(UserError, match=sentence):
            resume("a", [setting])
        assert [file.read_bytes() for file in files] == before
