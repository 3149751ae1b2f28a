"""A check that a world keeps the promises of `World`. Run it on your own world before training."""

import copy
import math
from collections.abc import Sequence

import gymnasium
import numpy as np

from marl.rendering.frames import draw
from marl.worlds.base import Arrays, Step, World
from marl.worlds.spaces import Group, Part

STEPS = 25


def check_world(world: World) -> None:
    """Play a few steps in a world and check the promises of `World`.

    The checks are: groups and spaces; keys, shapes, dtypes and finite values of all results; `done`
    is truncated or all terminated; `reset(mask)` leaves the other worlds as they are; returned
    arrays are not changed later; `state_dict` continues bit for bit, including random numbers;
    worlds do not affect each other; scenes can be drawn. The world is left in the middle of an
    episode.

    Raises AssertionError with one sentence that names the fault.
    """
    _require(world.num_worlds >= 1, f"num_worlds is {world.num_worlds}; at least 1 is needed")
    _require(len(world.groups) >= 1, "groups is empty; at least one group is needed")
    for g, group in world.groups.items():
        _check_group(g, group)
    observation = world.reset()
    _check_observation(world, observation, "reset()")
    _check_state(world)
    _check_reset_of_nothing(world, observation)
    _check_play(world, observation)
    _check_state_dict(world)
    _check_apart(world)
    _check_scenes(world)


def _require(condition: bool | np.bool_, sentence: str) -> None:
    if not condition:
        raise AssertionError(sentence)


def _check_group(g: str, group: Group) -> None:
    _require(len(group) >= 1, f"group {g!r} has no agents")
    _require(len(set(group.names)) == len(group), f"group {g!r} has two agents of one name")
    for name, space, parts in (
        ("observation", group.observation_space, group.observation_parts),
        ("action", group.action_space, group.action_parts),
    ):
        box = isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1
        if name == "observation" and group.picture:
            box = isinstance(space, gymnasium.spaces.Box) and _shows(space, parts)
        _require(
            box,
            f"the {name}_space of group {g!r} must be a Box of one axis, or u8[C, H, W] for a part "
            f"with that picture; it is {space}",
        )
        size = sum(part.size for part in parts)
        _require(
            not parts or size == math.prod(space.shape),
            f"the {name}_parts of group {g!r} add up to {size}, but its space has {space.shape}",
        )
        for part in parts:
            _require(
                not part.masked or part.scalars >= 1,
                f"the part {part.name!r} of group {g!r} is masked, but has no scalar to say so",
            )
    lowest = np.full(group.action_space.shape, -1.0)
    for piece in group.choices:
        lowest[piece] = 0.0
    low, high = group.action_space.low, group.action_space.high
    unit = (low == lowest).all() and (high == 1).all()
    _require(unit, f"the action_space of group {g!r} must reach from -1 to 1 (choices: from 0)")


def _shows(space: gymnasium.spaces.Box, parts: Sequence[Part]) -> bool:
    """Whether the space is that of the pictures of a single part."""
    channels, height, width = parts[0].picture or (0, 0, 0)
    shape = (parts[0].count * channels, height, width)
    return len(parts) == 1 and space.shape == shape and space.dtype == np.uint8


def _check_array(what: str, array: np.ndarray, shape: tuple[int, ...], dtype: type) -> None:
    _require(isinstance(array, np.ndarray), f"{what} is a {type(array).__name__}, not an array")
    _require(array.shape == shape, f"{what} has shape {array.shape}; {shape} is needed")
    _require(array.dtype == dtype, f"{what} is {array.dtype}; {np.dtype(dtype)} is needed")
    _require(np.isfinite(array).all(), f"{what} holds values that are not finite")


def _check_groups_arrays(
    world: World, what: str, arrays: Arrays, dtype: type | None, space: str | None = None
) -> None:
    """One array [E, N, ...] for every group; `dtype` None: that of the space."""
    _require(isinstance(arrays, dict), f"{what} is a {type(arrays).__name__}, not a dictionary")
    _require(
        list(arrays) == list(world.groups),
        f"{what} has the keys {list(arrays)}; the groups are {list(world.groups)}",
    )
    for g, group in world.groups.items():
        last = getattr(group, space).shape if space else ()
        shape = (world.num_worlds, len(group), *last)
        of = dtype or getattr(group, space or "").dtype
        _check_array(f"{what}[{g!r}]", arrays[g], shape, of)


def _check_observation(world: World, observation: Arrays, what: str) -> None:
    _check_groups_arrays(world, what, observation, None, "observation_space")
    for g, group in world.groups.items():
        start = 0
        for part in group.observation_parts:
            piece = observation[g][..., start : start + part.size]
            start += part.size
            if part.masked and part.count:
                items = piece.reshape(*piece.shape[:2], part.count, part.item_size)
                there = items[..., -1:]
                _require(
                    ((there == 0) | (there == 1)).all(),
                    f"the presence in part {part.name!r} of {what}[{g!r}] must be 0.0 or 1.0",
                )
                _require(
                    (items * (1 - there) == 0).all(),
                    f"padding in part {part.name!r} of {what}[{g!r}] must be all zeros",
                )


def _check_state(world: World) -> None:
    state = world.state()
    _require(
        isinstance(state, np.ndarray) and state.ndim == 2, "state() must be an array of two axes"
    )
    _check_array("state()", state, (world.num_worlds, state.shape[1]), np.float32)


def _check_reset_of_nothing(world: World, observation: Arrays) -> None:
    before, state = _copied(observation), world.state().copy()
    again = world.reset(np.zeros(world.num_worlds, bool))
    same = _same(before, again) and np.array_equal(state, world.state())
    _require(same, "reset() with a mask that is false everywhere must not change anything")


def _check_play(world: World, observation: Arrays) -> None:
    """Some steps and resets, with checks of all results."""
    rng = np.random.default_rng(0)
    kept: list[tuple[str, Arrays, Arrays]] = []
    names = None
    for t in range(STEPS):
        kept.append((f"the observation before step {t}", observation, _copied(observation)))
        actions = _random_actions(world, rng)
        given = _copied(actions)
        step = world.step(actions)
        _require(_same(given, actions), "step() must not change the actions that it is given")
        _check_step(world, step)
        names = names or list(step.metrics)
        _require(
            list(step.metrics) == names,
            f"the metrics are {list(step.metrics)} in one step and {names} in another",
        )
        _check_state(world)
        kept.append((f"the reward of step {t}", step.reward, _copied(step.reward)))
        kept.append((f"the observation of step {t}", step.observation, _copied(step.observation)))
        some = rng.random(world.num_worlds) < 0.2
        observation = _check_reset(world, step.observation, step.done | some)
        for what, arrays, then in kept:
            _require(_same(then, arrays), f"{what} was changed after it was handed out")


def _check_reset(world: World, observation: Arrays, mask: np.ndarray) -> Arrays:
    """Start new episodes in some worlds; the others must not change."""
    before, state = _copied(observation), world.state().copy()
    after = world.reset(mask)
    _check_observation(world, after, "reset(mask)")
    same = all(np.array_equal(before[g][~mask], after[g][~mask]) for g in world.groups)
    same = same and np.array_equal(state[~mask], world.state()[~mask])
    _require(same, "reset(mask) must leave the worlds where mask is false as they are")
    return after


def _check_step(world: World, step: Step) -> None:
    _require(isinstance(step, Step), f"step() must return a Step, not a {type(step).__name__}")
    _check_observation(world, step.observation, "Step.observation")
    _check_groups_arrays(world, "Step.reward", step.reward, np.float32)
    _check_groups_arrays(world, "Step.terminated", step.terminated, np.bool_)
    _check_groups_arrays(world, "Step.active", step.active, np.bool_)
    _check_array("Step.truncated", step.truncated, (world.num_worlds,), np.bool_)
    _check_array("Step.done", step.done, (world.num_worlds,), np.bool_)
    ended = np.logical_and.reduce([step.terminated[g].all(1) for g in world.groups])
    _require(
        np.array_equal(step.done, step.truncated | ended),
        "Step.done must be true where the world is truncated or all its agents are terminated, "
        "and nowhere else",
    )
    for name, values in step.metrics.items():
        _check_array(f"Step.metrics[{name!r}]", values, (world.num_worlds,), np.float32)


def _check_state_dict(world: World) -> None:
    """Continue from a stored state twice; the results must be equal to the last bit."""
    state = world.state_dict()
    for name, array in state.items():
        _require(
            isinstance(array, np.ndarray),
            f"state_dict()[{name!r}] is a {type(array).__name__}, not an array",
        )
    stored = copy.deepcopy(state)
    observation = _copied(world.reset(np.zeros(world.num_worlds, bool)))
    first = _history(world)
    _require(_same(state, stored), "what state_dict() returned was changed by later steps")
    world.load_state_dict(state)
    restored = world.reset(np.zeros(world.num_worlds, bool))
    _require(_same(observation, restored), "load_state_dict() must bring the observations back")
    again = _history(world)
    _require(_same(state, stored), "what load_state_dict() was given was changed by later steps")
    for t, (one, other) in enumerate(zip(first, again, strict=True)):
        for name in one:
            _require(
                _same(one[name], other[name]),
                f"after load_state_dict(), {name} differs in step {t} from the first time: "
                "state_dict() lacks something, or chance comes from elsewhere than the seed",
            )


def _history(world: World) -> list[dict[str, Arrays]]:
    """Copies of the results of some steps and resets, the same ones in every call."""
    rng = np.random.default_rng(1)
    history = []
    for _ in range(STEPS):
        step = world.step(_random_actions(world, rng))
        mask = step.done | (rng.random(world.num_worlds) < 0.2)
        history.append(
            {
                "observation": _copied(step.observation),
                "reward": _copied(step.reward),
                "done": {"done": step.done.copy(), "truncated": step.truncated.copy()},
                "terminated": _copied(step.terminated),
                "metrics": _copied(step.metrics),
                "the observation after reset(mask)": _copied(world.reset(mask)),
                "state": {"state": world.state().copy()},
            }
        )
    return history


def _check_apart(world: World) -> None:
    """The first world must not depend on the actions in the others, until an episode ends."""
    if world.num_worlds < 2:
        return
    stored, rng = world.state_dict(), np.random.default_rng(2)
    actions = [_random_actions(world, rng) for _ in range(STEPS)]
    others = [_random_actions(world, rng) for _ in range(STEPS)]
    for one, other in zip(actions, others, strict=True):
        for g in other:
            other[g][0] = one[g][0]

    def first_world(actions: list[Arrays]) -> list[dict[str, Arrays]]:
        world.load_state_dict(copy.deepcopy(stored))
        seen = []
        for given in actions:
            step = world.step(given)
            arrays = {
                "observation": step.observation,
                "reward": step.reward,
                "terminated": step.terminated,
                "metrics": step.metrics,
            }
            seen.append(
                {name: {k: x[0].copy() for k, x in own.items()} for name, own in arrays.items()}
            )
            if step.done.any():
                break
        return seen

    for here, there in zip(first_world(actions), first_world(others), strict=False):
        for name in here:
            _require(
                _same(here[name], there[name]),
                f"{name} of the first world depends on what is done in the others: they share "
                "something",
            )


def _check_scenes(world: World) -> None:
    for number in (0, world.num_worlds - 1):
        scene = world.scene(number)
        discs = len(scene.positions)
        _require(
            scene.positions.shape == (discs, 2)
            and scene.radii.shape == (discs,)
            and scene.colours.shape == (discs, 4),
            f"scene({number}) needs positions [M, 2], radii [M] and colours [M, 4]",
        )
        large = len(scene.half_size) == 2 and all(
            math.isfinite(half) and half > 0 for half in scene.half_size
        )
        _require(large, f"the half_size of scene({number}) must be two positive numbers")
        try:
            draw(scene)
        except Exception as error:
            raise AssertionError(f"scene({number}) cannot be drawn: {error}") from error


def _random_actions(world: World, rng: np.random.Generator) -> Arrays:
    return {
        g: group.random_actions(rng, world.num_worlds, len(group))
        for g, group in world.groups.items()
    }


def _copied(arrays: Arrays) -> Arrays:
    return {name: array.copy() for name, array in arrays.items()}


def _same(one: dict, other: dict) -> bool:
    """Equal to the last bit."""
    return one.keys() == other.keys() and all(
        np.asarray(one[k]).tobytes() == np.asarray(other[k]).tobytes() for k in one
    )
