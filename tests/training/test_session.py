"""What a session saves."""

import json

import numpy as np
import pytest
from tiny import TINY

from marl.config.parsing import parse_config, with_settings
from marl.runs.checkpoint import read_checkpoint
from marl.runs.run import Run
from marl.training.loop import resume, train, train_together
from marl.training.session import NotFinite, Session
from marl.worlds.particles.world import ParticleWorld


@pytest.mark.parametrize("log_every", [0, 40])
@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("reward", "reward_agents"),
        ("observation", r"replay\..*observation"),
        ("metrics", "coverage"),
    ],
)
def test_numbers_of_a_world_that_are_not_finite_are_never_saved(
    data, monkeypatch, what, named, log_every
):
    """Also before learning starts, when no loss tells of them."""
    step, turns = ParticleWorld.step, []

    def poisoned(world, actions):
        turns.append(1)
        result = step(world, actions)
        if len(turns) == 24:
            next(iter(getattr(result, what).values())).flat[0] = np.inf
        return result

    never = ("training.learning_starts=1000", f"training.log_every={log_every}")
    config = parse_config(with_settings(TINY, never))
    with monkeypatch.context() as patch:
        patch.setattr(ParticleWorld, "step", poisoned)
        with pytest.raises(NotFinite, match=f"{named}.* is no longer .* step 80, is kept"):
            train(config, "a")
    for kind in ("weights", "state"):
        assert read_checkpoint(getattr(Run("a"), kind), kind).step == 80
    for line in (Run("a").stats / "log.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    resume("a")
    train(config, "whole")
    assert Run("a").weights.read_bytes() == Run("whole").weights.read_bytes()


def test_the_run_of_several_whose_agent_is_lost_is_named(data, monkeypatch):
    """Side by side, where one call of the worlds acts for all of them."""
    advance = Session.advance

    def lost(session, *arguments):
        if session.run.name == "b" and session.step == 160:
            for weight in session.agent.learners["agents"].actor.parameters():
                weight.data.fill_(np.nan)
        return advance(session, *arguments)

    monkeypatch.setattr(Session, "advance", lost)
    configs = {
        name: parse_config(with_settings(TINY, [f"training.seed={seed}", "training.log_every=0"]))
        for seed, name in enumerate("abc")
    }
    with pytest.raises(NotFinite, match=r"agents\..* is no longer a finite number") as error:
        train_together(configs)
    assert "models/b" in str(error.value)
