from pathlib import Path

import pytest

from marl.config.json_text import read_json
from marl.config.parsing import (
    find_config,
    load_config,
    merged,
    parse_config,
    read_config,
)
from marl.errors import UserError
from marl.runs.checkpoint import read_header

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "data" / "json").glob("*.json"))


def test_there_are_some():
    assert {"atoc", "spread"} <= {path.stem for path in CONFIGS}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_builds_and_is_not_modified(path):
    before = path.read_bytes()
    config = load_config(path)
    dumped = config.to_json()
    world = config.make_world(2, seed=0)
    agent = config.make_agent(world.groups, seed=0)
    assert agent.weights()
    assert config.to_json() == dumped
    assert path.read_bytes() == before


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_states_only_what_differs_from_the_defaults(path):
    data = read_json(path)
    base = read_config(find_config(data.pop("base"))) if "base" in data else {}
    whole = parse_config(merged(base, data))
    for section, settings in data.items():
        for key in settings:
            without = {**data, section: {k: v for k, v in settings.items() if k != key}}
            if key in ("name", "scenario"):  # a config says what it is of
                continue
            try:
                config = parse_config(merged(base, without))
            except UserError:  # others make no sense without it
                continue
            assert config != whole, f"{section}.{key} makes no difference"


@pytest.mark.parametrize("name", ["spread_auction", "pistonball", "pistonball_frames"])
def test_a_shipped_model_has_the_config_of_its_name(name):
    """What a config takes from its base is what its model was trained with."""
    stored = read_header(ROOT / "data" / "models" / name / "weights.safetensors").config
    shipped = load_config(ROOT / "data" / "json" / f"{name}.json")
    played = "evaluation.world."
    of_training, now = (
        {k: v for k, v in x.flat().items() if k != "training.seed" and not k.startswith(played)}
        for x in (stored, shipped)
    )
    assert of_training == now
    assert stored.resolve().evaluation_world == shipped.evaluation_world


def test_the_main_experiment():
    config = load_config(next(path for path in CONFIGS if path.stem == "atoc"))
    t = config.training
    assert (t.batch_size, t.updates, t.update_every, t.num_worlds) == (512, 10, 100, 1)
    assert (config.agent.gamma, config.agent.tau) == (0.9, 0.01)
    assert config.agent.hidden == (128, 64, 32, 32)
    noise = config.exploration
    assert (noise.kind, noise.theta, noise.sigma) == ("ou", 0.25, 0.55)
    assert config.world.reward == "shared"
