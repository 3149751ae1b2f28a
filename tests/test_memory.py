"""What is too large for the memory says so before it is taken."""

import pytest
import torch
from tiny import TINY

from marl import memory
from marl.config.parsing import parse_config, with_settings
from marl.errors import UserError
from marl.learning.replay import Replay, needed_bytes
from marl.training.loop import train
from marl.worlds.registry import make


def test_something_is_available():
    assert memory.available() > 1e6


def test_a_full_replay_needs_what_is_said():
    world = make("tag")
    agent = parse_config({}).make_agent(world.groups, 0)
    columns = agent.columns(world.groups)
    replay = Replay(world.groups, 50, torch.Generator(), columns)
    assert needed_bytes(world.groups, 50, columns) == replay.nbytes


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            ["training.replay_size=1000000"],
            r"replay_size is 1000000, which needs 0\.\d GB .* 0\.2 GB",
        ),
        (
            ["agent.hidden=[8,20000,20000]"],
            r"a layer of 1 x 20000 x 20000 weights, .*needs 8\.0 GB",
        ),
    ],
)
def test_too_much_is_refused_with_a_sentence(data, monkeypatch, settings, said):
    monkeypatch.setattr(memory, "available", lambda: 2e8)
    with pytest.raises(UserError, match=said):
        train(parse_config(with_settings(TINY, settings)), "large")
    assert not (data / "models" / "large").exists()
