"""What the tests of PettingZoo's environments share."""

import pytest

from marl import evaluation


@pytest.fixture(scope="module")
def few_episodes():
    """As these environments are slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("marl.training.session.SLOW_EVALUATION_EPISODES", 2)
        patch.setattr(evaluation, "SLOW_EPISODES", 3)
        yield
