"""What PettingZoo promises of a parallel environment, checked in every step.

Two signals say that an agent has left: its flags, and the list `agents`. Either is believed. An
agent that leaves without a flag is terminated.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Dict, Space, Tuple
from gymnasium.spaces.utils import flatten

from marl.worlds.pettingzoo.spaces import Kind, find_kinds

TRIAL_STEPS = 100  # of the episode that is tried before anything else; it may end before
LARGEST = float(np.finfo(np.float32).max)


class Broken(ValueError):
    """A promise of PettingZoo's is broken: one sentence that names the environment."""


class Turn(NamedTuple):
    """One step of an environment, with the agents that were in the game before it."""

    observation: dict[str, np.ndarray]  # f32[O] or u8[C, H, W]; who has left may have none
    reward: dict[str, float]
    terminated: set[str]
    truncated: set[str]


class Copy:
    """A copy of an environment, with its episode. Everything that it says is checked."""

    def __init__(self, env: Any, kinds: Mapping[str, Kind]) -> None:
        self.env = env
        self.name = name_of(env)
        self.kinds = {agent: kind for kind in kinds.values() for agent in kind.names}
        self.here: list[str] = []  # the agents in the game
        self._gone: set[str] = set()
        self._steps = 0
        self.seen: dict[str, np.ndarray] = {}  # the last observation of each
        groups = {agent: kind.group for agent, kind in self.kinds.items()}
        self._masked = {agent: x for agent, x in groups.items() if x.legal_from is not None}

    def reset(self, seed: int) -> dict[str, np.ndarray]:
        """Begin an episode. Returns the observations of all agents in the game."""
        answer = self.env.reset(seed=seed)
        self._steps, self._gone = 0, set()
        if not (isinstance(answer, tuple) and len(answer) == 2):
            raise self._broken(
                f"reset() returns {_described(answer)}, but should return a tuple of two: "
                "observations and infos"
            )
        observation = self._by_agent("observations", answer[0])
        self.here = self._listed()
        if not self.here:
            raise self._broken("there are no agents after reset()")
        self.seen = {agent: self._observed(agent, observation) for agent in self.here}
        return self.seen

    def step(self, actions: Mapping[str, np.ndarray]) -> Turn:
        """Act with ours, {agent: f32[A]}."""
        if not self.here:
            raise RuntimeError(f"the episode of {self.name} is over: call reset() before step()")
        for agent in self.here:
            if agent in self._masked:
                self._check_legal(agent, actions[agent])
        given = {agent: self.kinds[agent].given(actions[agent]) for agent in self._listed()}
        answer = self.env.step(given)
        self._steps += 1
        if not (isinstance(answer, tuple) and len(answer) == 5):
            raise self._broken(
                f"step() returns {_described(answer)}, but should return a tuple of five: "
                "observations, rewards, terminations, truncations and infos"
            )
        names = ("observations", "rewards", "terminations", "truncations")
        told = [self._by_agent(name, said) for name, said in zip(names, answer[:4], strict=True)]
        return self._turn(*told)

    def _turn(self, observation: Any, reward: Any, terminations: Any, truncations: Any) -> Turn:
        listed, before = self._listed(), self.here
        turn = Turn({}, {}, set(), set())
        for agent in before:
            ended, late = bool(terminations.get(agent)), bool(truncations.get(agent))
            told = any(agent in x for x in (observation, reward, terminations, truncations))
            left = not (told and agent in listed)
            if ended or (left and not late):
                turn.terminated.add(agent)
            if late:
                turn.truncated.add(agent)
            if ended or late or left:
                self._gone.add(agent)
            if agent in reward or agent not in self._gone:
                turn.reward[agent] = self._earned(agent, reward)
            # An agent whose time ran out bootstraps from its last observation.
            if agent in observation or agent not in turn.terminated:
                turn.observation[agent] = self._observed(agent, observation)
        self.here = [agent for agent in listed if agent not in self._gone]
        for agent in self.here:
            if agent not in before:  # it joins
                turn.observation[agent] = self._observed(agent, observation)
        self.seen = turn.observation
        return turn

    # ----------------------------------------------------------------------------------- the checks

    def _broken(self, sentence: str) -> Broken:
        return Broken(f"{self.name}: {sentence}")

    def _by_agent(self, name: str, said: Any) -> Mapping[str, Any]:
        if not isinstance(said, Mapping):
            raise self._broken(f"its {name} are {_described(said)}, but should be a dictionary")
        return said

    def _listed(self) -> list[str]:
        agents = [*self.env.agents]
        if strangers := [agent for agent in agents if agent not in self.kinds]:
            raise self._broken(
                f"{strangers[0]!r} is among its agents at step {self._steps}, but not among its "
                f"possible_agents: {', '.join(self.kinds)}"
            )
        return agents

    def _observed(self, agent: str, observation: Mapping[str, Any]) -> np.ndarray:
        where = f"the observation of {agent!r} at step {self._steps}"
        if agent not in observation:
            raise self._broken(f"{where} is missing")
        space = self.kinds[agent].observation
        if fault := misfit(space, observation[agent]):
            raise self._broken(f"{where} {fault}")
        value = observation[agent]
        if self.kinds[agent].picture:
            return self.kinds[agent].pixels(value)
        with np.errstate(over="ignore"):
            # A Box of integers may be given other numbers, which `flatten` would round.
            flat = np.ravel(value) if isinstance(space, Box) else flatten(space, value)
            numbers = np.array(flat, np.float32)
        if not np.isfinite(numbers).all():
            raise self._broken(f"{where} holds {numbers[~np.isfinite(numbers)][0]}")
        return numbers

    def _check_legal(self, agent: str, action: np.ndarray) -> None:
        legal = self._masked[agent].legal(self.seen[agent])
        for piece in self._masked[agent].choices:
            chosen = int(action[piece].argmax())
            if legal[piece].any() and not legal[piece][chosen]:
                raise self._broken(
                    f"the action of {agent!r} at step {self._steps} is choice {chosen}, which its "
                    "action_mask forbids"
                )

    def _earned(self, agent: str, reward: Mapping[str, Any]) -> float:
        where = f"the reward of {agent!r} at step {self._steps}"
        if agent not in reward:
            raise self._broken(f"{where} is missing")
        earned = np.asarray(reward[agent])
        if earned.shape or earned.dtype.kind not in "biuf":
            raise self._broken(f"{where} is {_described(reward[agent])}, but should be one number")
        if not abs(float(earned)) <= LARGEST:
            raise self._broken(f"{where} is {float(earned)}, but should be a finite number")
        return float(earned)


def misfit(space: Space, value: Any) -> str:
    """Why a value is none of a space, as the end of a sentence; empty if it is one. Numbers may lie
    beyond the bounds of a Box, and be of another type."""
    if value is None:
        return "is None"
    if isinstance(space, Box):
        shape = np.shape(value)
        return "" if shape == space.shape else f"has the shape {shape}, but its space {space.shape}"
    if isinstance(space, Dict | Tuple):
        inner = dict(space.items()) if isinstance(space, Dict) else dict(enumerate(space))
        own = dict(enumerate(value)) if isinstance(space, Tuple) else value
        if not isinstance(own, Mapping) or not inner.keys() <= own.keys():
            return f"is {_described(value)}, which is not in {space}"
        faults = (misfit(part, own[key]) for key, part in inner.items())
        return next(filter(None, faults), "")
    return "" if space.contains(value) else f"is {value!r}, which is not in {space}"


def _described(value: Any) -> str:
    """A value, or what it is if it is long."""
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    if isinstance(value, np.ndarray):
        return f"an array of the shape {value.shape}"
    text = repr(value)
    return text if len(text) <= 40 else f"a {type(value).__name__}"


def name_of(env: Any) -> str:
    """The name of an environment, for sentences and captions."""
    metadata = getattr(env, "metadata", None) or {}
    return str(metadata.get("name") or type(env).__name__)


# ------------------------------------------------------------------------------------- the trial


class Examined(NamedTuple):
    """What there is to know of an environment before copies of it are made."""

    name: str
    kinds: dict[str, Kind]


def examine(
    make_env: Callable[[], Any], groups: Mapping[str, Sequence[str]] | None, frames: int = 1
) -> Examined:
    """Make an environment once, find its groups and try an episode of it with random actions, in
    the manner of PettingZoo's `parallel_api_test`. `frames`: how many pictures are observed at
    once. Raises ValueError with one sentence."""
    env = make_env()
    try:
        for name in ("possible_agents", "observation_space", "action_space", "reset", "step"):
            if not hasattr(env, name):
                raise Broken(
                    f"{name_of(env)} has no {name}: it is no parallel environment of PettingZoo"
                )
        try:
            kinds = find_kinds(env, groups, frames)
        except ValueError as error:
            raise Broken(f"{name_of(env)}: {error}") from error
        _try(Copy(env, kinds))
        return Examined(name_of(env), kinds)
    finally:
        if hasattr(env, "close"):
            env.close()


def _try(copy: Copy) -> None:
    rng, groups = np.random.default_rng(0), {a: kind.group for a, kind in copy.kinds.items()}
    try:
        copy.reset(0)
        for _ in range(TRIAL_STEPS):
            legal = {agent: groups[agent].legal(seen) for agent, seen in copy.seen.items()}
            copy.step({a: x.random_actions(rng, legal=legal.get(a)) for a, x in groups.items()})
            if not copy.here:
                break
    except Broken:
        raise
    except Exception as error:  # of somebody else's code
        sentence = f"{copy.name} failed when it was tried: {type(error).__name__}: {error}"
        raise Broken(sentence) from error
