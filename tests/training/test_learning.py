"""Longer runs, started by `make test-learning`: does what is shipped learn what the README says?"""

import pytest

from marl import evaluation
from marl.config.parsing import find_config, load_config
from marl.runs.loading import find_policy
from marl.training.loop import train

pytestmark = pytest.mark.learning


def coverage(name, agents, episodes):
    subject = find_policy(name)
    world = subject.world_for(agents)
    return evaluation.evaluate(subject.policy, world, agents, episodes, seed=0)["coverage"]


def test_the_recipe_learns_with_four_agents_and_steers_eighty(data):
    """About two minutes; the worst of 20 fresh seeds reached .97 and .86."""
    train(load_config(find_config("spread")), "spread-0")
    assert coverage("spread-0", 4, 400) > 0.95
    assert coverage("spread-0", 80, 40) > 0.8


def test_the_shared_mlp_learns_with_four_agents(data):
    """About two minutes."""
    train(load_config(find_config("atoc_tuned")), "atoc-0")
    assert coverage("atoc-0", 4, 400) > 0.9
