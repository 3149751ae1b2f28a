"""check_agent: the promises of `Agent`, checked. Run it on your own agent before training."""

import copy
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from marl.agents.core.base import Agent, View
from marl.learning.memory import Memory
from marl.learning.record import Batch, Transition, columns_of
from marl.worlds.base import Arrays, Neighbours
from marl.worlds.spaces import Group

WORLDS = 3
ROWS = 32
UPDATES = 6


def check_agent(make_agent: Callable[[], Agent], groups: dict[str, Group]) -> None:
    """Let an agent act and learn on random numbers, and check the promises of `Agent`.

    `make_agent` makes a fresh agent for `groups`, which explores; all its agents are equal. Actions
    have the right keys, shape, dtype and bounds. Greedy actions are deterministic; exploring ones
    differ between episodes. Updates change the weights and return finite scalars. `state_dict`
    continues bit for bit in a fresh agent. `load_weights` restores weights and refuses others.

    Raises AssertionError with one sentence that names the fault.
    """
    _check_acting(make_agent(), groups)
    _check_learning(make_agent, groups)
    _check_state_dict(make_agent, groups)
    _check_weights(make_agent, groups)


def _require(condition: bool | np.bool_, sentence: str) -> None:
    if not condition:
        raise AssertionError(sentence)


def _check_acting(agent: Agent, groups: dict[str, Group]) -> None:
    agent.reset()
    observation = _observation(groups)
    given = {g: rows.copy() for g, rows in observation.items()}
    greedy = _greedy(agent, groups, observation)
    _check_actions(greedy, groups, "act(observation)")
    _require(
        _same(greedy, _greedy(agent, groups, observation)),
        "greedy actions must be the same every time",
    )
    remembers = not _same(greedy, _acted(agent, groups, observation))
    first = _acted(agent, groups, observation, explore=True)
    greedy = _greedy(agent, groups, observation)  # observations may have entered its statistics
    for _ in range(20):
        actions = _acted(agent, groups, observation, explore=True)
        _check_actions(actions, groups, "act(observation, explore=True)")
    after = _greedy(agent, groups, observation)
    unmoved = all(np.allclose(greedy[g], after[g], atol=1e-5) for g in groups)
    _require(unmoved, "exploring must not change greedy actions")
    agent.reset()
    again = _acted(agent, groups, observation, explore=True)
    differ = all(not np.array_equal(first[g], again[g]) for g in groups)
    _require(differ, "act(observation, explore=True) must give other actions the next episode")
    greedy = _greedy(agent, groups, observation)
    _require(_same(given, observation), "act() must not change the observations it is given")
    agent.reset(np.arange(WORLDS) == 0)
    if not remembers:
        same = _same(greedy, _acted(agent, groups, observation))
        _require(same, "reset(mask) must not change greedy actions")


def _check_actions(actions: Arrays, groups: dict[str, Group], what: str) -> None:
    _require(
        list(actions) == list(groups),
        f"{what} has the keys {list(actions)}; the groups are {list(groups)}",
    )
    for g, group in groups.items():
        rows = actions[g]
        shape = (WORLDS, len(group), *group.action_space.shape)
        _require(
            isinstance(rows, np.ndarray), f"{what}[{g!r}] is a {type(rows).__name__}, not an array"
        )
        _require(rows.shape == shape, f"{what}[{g!r}] has shape {rows.shape}; {shape} is needed")
        _require(rows.dtype == np.float32, f"{what}[{g!r}] is {rows.dtype}; float32 is needed")
        _require((np.abs(rows) <= 1).all(), f"{what}[{g!r}] must lie between -1 and 1")
        for piece in group.choices:
            chosen = np.sort(rows[..., piece], -1)
            _require(
                (chosen[..., -1] == 1).all() and (chosen[..., :-1] == 0).all(),
                f"{what}[{g!r}] must choose: be 1.0 in one place of {piece.start} to "
                f"{piece.stop - 1} and 0.0 in the others",
            )


def _check_learning(make_agent: Callable[[], Agent], groups: dict[str, Group]) -> None:
    agent = make_agent()
    before = _copied(agent.weights())
    for batch in _batches(make_agent(), groups):
        given = {g: _columns(rows) for g, rows in copy.deepcopy(batch).items()}
        result = agent.update(batch)
        for name, value in result.items():
            scalar = isinstance(value, Tensor) and value.ndim == 0
            _require(scalar, f"update() must return scalar tensors; {name!r} is not one")
            _require(not value.requires_grad, f"{name!r} of update() must be detached")
            _require(bool(torch.isfinite(value)), f"{name!r} of update() is not finite: {value}")
        for g, columns in given.items():
            _require(
                _same(columns, _columns(batch[g])), "update() must not change the batch it is given"
            )
    after = agent.weights()
    _require(before.keys() == after.keys(), "weights() has other keys after an update")
    changed = any(not torch.equal(before[name], after[name]) for name in before)
    _require(changed, f"{UPDATES} updates have not changed the weights")
    for name, tensor in after.items():
        _require(bool(torch.isfinite(tensor).all()), f"weight {name} is not finite")


def _check_state_dict(make_agent: Callable[[], Agent], groups: dict[str, Group]) -> None:
    """Stop after half the updates and continue in a fresh agent: nothing may differ."""
    agent, other = make_agent(), make_agent()
    observation, batches = _observation(groups), _batches(make_agent(), groups)
    for batch in batches[: UPDATES // 2]:
        _acted(agent, groups, observation, explore=True)
        agent.update(batch)
    state = agent.state_dict()
    tensors = all(isinstance(value, Tensor) for value in state.values())
    _require(tensors, "state_dict() must be a flat dictionary of tensors")
    stored = _copied(state)
    results = _played(agent, groups, observation, batches[UPDATES // 2 :])
    _require(_same(stored, state), "what state_dict() returned was changed by later updates")
    other.load_state_dict(state)
    again = _played(other, groups, observation, batches[UPDATES // 2 :])
    _require(_same(stored, state), "what load_state_dict() was given was changed by later updates")
    for what in results:
        same = _same(results[what], again[what])
        _require(same, f"after load_state_dict(), {what} differ from those of the first agent")


def _played(
    agent: Agent,
    groups: dict[str, Group],
    observation: Arrays,
    batches: list[dict[str, Batch]],
) -> dict[str, dict]:
    explored, logged = [], []
    for batch in batches:
        explored.append(_acted(agent, groups, observation, explore=True))
        logged.append(agent.update(batch))
    return {
        "exploring actions": {
            (t, g): v for t, acts in enumerate(explored) for g, v in acts.items()
        },
        "results of updates": {(t, k): v for t, logs in enumerate(logged) for k, v in logs.items()},
        "weights": agent.weights(),
        "states": agent.state_dict(),
    }


def _check_weights(make_agent: Callable[[], Agent], groups: dict[str, Group]) -> None:
    agent, other = make_agent(), make_agent()
    observation = _observation(groups)
    for batch in _batches(make_agent(), groups):
        agent.update(batch)
    weights = agent.weights()
    actions = _acted(agent, groups, observation)
    other.load_weights(weights)
    _require(
        _same(actions, _acted(other, groups, observation)),
        "load_weights(weights()) must give the same actions",
    )
    stored = _copied(weights)
    for batch in _batches(make_agent(), groups):
        agent.update(batch)
        other.update(batch)
    _require(_same(stored, weights), "what weights() returned was changed by later updates")
    for name, tensor in weights.items():
        for misfit in (
            {**weights, name: tensor.new_zeros(*tensor.shape, 2)},
            _without(weights, name),
        ):
            try:
                agent.load_weights(misfit)
            except ValueError as error:
                _require(name in str(error), f"load_weights() must name the weight {name}: {error}")
            else:
                raise AssertionError(
                    f"load_weights() must raise ValueError where {name} is missing or misshapen"
                )


def _without(weights: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {k: v for k, v in weights.items() if k != name}


def _acted(
    agent: Agent, groups: dict[str, Group], observation: Arrays, explore: bool = False
) -> Arrays:
    """The agent's actions."""
    actions = agent.act(agent.perceive(_view(agent, observation)), explore)
    _check_recorded(agent, groups, observation)
    return actions


def _check_recorded(agent: Agent, groups: dict[str, Group], observation: Arrays) -> None:
    """Check that `recorded` has the columns that the agent adds, with their shapes and dtypes."""
    recorded, standard = agent.recorded(), columns_of(groups)
    for g, columns in agent.columns(groups).items():
        added = {name: column for name, column in columns.items() if name not in standard[g]}
        _require(
            {name for name, arrays in recorded.items() if g in arrays} == set(added),
            "recorded() must have the columns that columns() adds",
        )
        for name, column in added.items():
            shape = (*observation[g].shape[:2], *column.shape)
            rows = recorded[name][g]
            fits = rows.shape == shape and np.can_cast(rows.dtype, column.dtype, "same_kind")
            _require(fits, f"recorded()[{name!r}][{g!r}] must be {column.dtype} of shape {shape}")


def _greedy(agent: Agent, groups: dict[str, Group], observation: Arrays) -> Arrays:
    """The agent's greedy actions at the start of an episode."""
    agent.reset()
    return _acted(agent, groups, observation)


def _view(agent: Agent, observation: Arrays, new_episode: np.ndarray | None = None) -> View:
    """Where the agent needs them: the agents next in number as neighbours, and as privileged
    numbers a plane vector for each agent."""
    near, counts, told = None, agent.needs.neighbours, None
    if any(counts):
        near = {g: _next_in_number(rows, *counts) for g, rows in observation.items()}
    if agent.needs.privileged:
        told = {g: rows[..., :2].copy() for g, rows in observation.items()}
    return View(observation, new_episode, near, told)


def _next_in_number(rows: np.ndarray, agents: int, landmarks: int) -> Neighbours:
    """Neighbours for observations [E, N, O]: the agents and landmarks next in number."""
    worlds, n, _ = rows.shape
    near = (np.arange(n)[:, None] + 1 + np.arange(agents)) % n
    near[:, n - 1 :] = -1
    places = np.arange(n)[:, None] + np.arange(landmarks)
    return Neighbours(np.tile(near, (worlds, 1, 1)), np.tile(places, (worlds, 1, 1)))


def _observation(groups: dict[str, Group], seed: int = 1) -> Arrays:
    """Random observations: small numbers, all masked items present."""
    generator = torch.Generator().manual_seed(seed)
    return {
        g: _rows(group, WORLDS * len(group), generator).unflatten(0, (WORLDS, -1)).numpy()
        for g, group in groups.items()
    }


class _Sizes(NamedTuple):
    """Of memory, in steps of single worlds."""

    replay_size: int = ROWS
    update_every: int = ROWS // 2 // WORLDS * WORLDS
    num_worlds: int = WORLDS


def _batches(agent: Agent, groups: dict[str, Group]) -> list[dict[str, Batch]]:
    """Batches from memory, after steps in which the agent explores random worlds."""
    random, sizes = np.random.default_rng(2), _Sizes()
    memory = Memory(groups, agent, sizes, torch.Generator().manual_seed(2))
    rollouts = any(sampling.draw == "rollout" for sampling in agent.sampling(groups).values())

    def perceived(step: int, new_episode: np.ndarray | None = None) -> Arrays:
        return agent.perceive(_view(agent, _observation(groups, step), new_episode))

    agent.reset()
    now = perceived(0)
    batches: list[dict[str, Batch]] = []
    for step in range(1, 1 + (UPDATES if rollouts else 2) * sizes.update_every // WORLDS):
        actions, recorded = agent.act(now, explore=True), agent.recorded()
        following, done = perceived(step), random.random(WORLDS) < 0.3
        shapes = {g: (WORLDS, len(group)) for g, group in groups.items()}
        reward = {g: random.standard_normal(shape, np.float32) for g, shape in shapes.items()}
        terminated = {g: done[:, None] & (random.random(x) < 0.5) for g, x in shapes.items()}
        memory.add(Transition(now, actions, reward, following, terminated, done, added=recorded))
        agent.reset(done)
        now = perceived(step, done)
        if rollouts and step * WORLDS % sizes.update_every == 0:
            batches.append(memory.sample(ROWS))
    return batches or [memory.sample(ROWS) for _ in range(UPDATES)]


def _rows(group: Group, rows: int, generator: torch.Generator) -> Tensor:
    """[rows, *O]."""
    numbers = torch.rand(rows, *group.observation_space.shape, generator=generator) - 0.5
    if group.picture:
        return (256 * (numbers + 0.5)).to(torch.uint8)
    start = 0
    for part in group.observation_parts:
        if part.masked:
            numbers[:, start + part.item_size - 1 : start + part.size : part.item_size] = 1.0
        start += part.size
    return numbers


def _columns(batch: Batch) -> dict[str, Tensor]:
    """All tensors of a batch, by name."""
    fields = {k: v for k, v in vars(batch).items() if isinstance(v, Tensor)}
    return {**fields, **batch.added}


def _copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def _same(one: dict, other: dict) -> bool:
    """Equal to the last bit."""
    return one.keys() == other.keys() and all(
        np.asarray(one[k]).tobytes() == np.asarray(other[k]).tobytes() for k in one
    )
