"""Our side of JaxMARL's training loops has settings that marl takes."""

import json
from pathlib import Path

import pytest

from marl.config.parsing import parse_config

FOLDER = Path(__file__).parents[2] / "benchmarks" / "loops"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.json")), ids=lambda file: file.stem)
def test_settings_are_taken(file):
    config = parse_config(json.loads(file.read_text()))
    world = config.make_world(1, 0)
    agent = config.make_agent(world.groups, 0)
    assert {sampling.draw for sampling in agent.sampling(world.groups).values()} == {"rollout"}
    assert config.training.update_every % config.training.num_worlds == 0
