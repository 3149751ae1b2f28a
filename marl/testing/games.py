"""Games of choices with known answers, for learners of values and of policies.

As in `probes`, each function makes a small world and says what is right: which choices a team
learns, and which joint values a learner can reach.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from marl.testing.probes import WORLDS, Observations, Probe, Rewards, group_of
from marl.worlds.base import Arrays
from marl.worlds.spaces import Part

CLIMBING = ((11.0, -30.0, 0.0), (-30.0, 7.0, 6.0), (0.0, 0.0, 5.0))
"""The rewards of Claus & Boutilier 1998: the best is hidden behind the worst."""

SEVEN = ((7.0, 7.0), (7.0, 7.0))
EIGHT = ((0.0, 1.0), (1.0, 8.0))


class Game(Probe):
    """A probe whose agents choose one of several numbers."""

    def __init__(
        self,
        agents: int,
        sees: int,
        choices: int,
        reward: Rewards,
        observe: Observations | None = None,
        length: int = 1,
    ) -> None:
        super().__init__({"agents": (agents, sees, choices)}, reward, observe, length)
        part = Part("choice", scalars=choices, choice=True)
        self.groups = {"agents": group_of(agents, sees, choices, action_parts=(part,))}


def chosen(actions: Arrays) -> np.ndarray:
    """i64[E, N]: what everybody chose."""
    return actions["agents"].argmax(-1)


def matrix_game(rewards: Sequence[Sequence[float]]) -> Game:
    """Two agents see 0, [E, 2, 1], and choose a row and a column of the table; both get the number
    there. A single step."""
    table = np.array(rewards)

    def reward(t: np.ndarray, o: Arrays, a: Arrays) -> dict[str, Any]:
        row, column = chosen(a).T
        return {"agents": table[row, column][:, None]}

    return Game(2, 1, len(table), reward)


class TwoStepGame(Game):
    """The two-step game of QMIX's paper (Rashid et al. 2018, section 5): two agents see which of
    three states they are in, one-hot [E, 2, 3], and choose one of two.

    The first agent's first choice leads to state 1, where everybody gets 7 whatever is chosen, or
    to state 2, with the rewards ((0, 1), (1, 8)). The second step ends the episode. A sum of values
    cannot represent state 2, so VDN goes for 7; a monotonic mixer can, so QMIX gets 8.
    """

    def __init__(self) -> None:
        self.where = np.zeros(WORLDS, int)
        super().__init__(2, 3, 2, self._reward, self._observe, length=2)

    def _reward(self, t: np.ndarray, o: Arrays, a: Arrays) -> dict[str, Any]:
        first, second = chosen(a).T
        rewards = np.array([np.zeros((2, 2)), SEVEN, EIGHT])[self.where, first, second]
        self.where = np.where(t == 0, 1 + first, 0)
        return {"agents": rewards[:, None]}

    def _observe(self, rng: np.random.Generator, t: np.ndarray) -> dict[str, np.ndarray]:
        self.where = np.where(t == 0, 0, self.where)
        return {"agents": np.repeat(np.eye(3)[self.where][:, None], 2, 1)}


def remembered_cue(length: int = 4, agents: int = 1) -> Game:
    """Agents see a cue, -1 or 1, in the first step, then 0, [E, N, 1]; in the last step each is to
    choose 0 or 1, as its cue was. Only an agent with a memory gets the reward, 1, more often than
    by half."""
    cue = np.zeros((WORLDS, agents))

    def observe(rng: np.random.Generator, t: np.ndarray) -> dict[str, np.ndarray]:
        begins = t == 0
        fresh = rng.choice([-1.0, 1.0], (WORLDS, agents))
        cue[begins] = fresh[begins]
        return {"agents": (cue * begins[:, None])[..., None]}

    def reward(t: np.ndarray, o: Arrays, a: Arrays) -> dict[str, Any]:
        right = chosen(a) == (cue > 0)
        return {"agents": right * (t == length - 1)[:, None].astype(float)}

    return Game(agents, 1, 2, reward, observe, length)
