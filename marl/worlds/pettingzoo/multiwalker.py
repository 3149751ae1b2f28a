"""Multiwalker: PettingZoo's game without the layers around it, for as many walkers as shall be."""

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box
from pydantic import Field

from marl.worlds.base import WorldConfig
from marl.worlds.pettingzoo.described import PROCESSES, DescribedEnv, described_world
from marl.worlds.pettingzoo.lidar import RAYS, SIDES, cast
from marl.worlds.pettingzoo.world import PettingZooWorld
from marl.worlds.spaces import Group, Part

MODULE = "pettingzoo.sisl.multiwalker.multiwalker_base"
WALKERS = "walker"  # as the door to PettingZoo names the group
TORQUES = 4  # of hip and knee of both legs
BODY = 14 + RAYS


class Multiwalker(WorldConfig):
    """Two-legged walkers carry a package over rough ground. PettingZoo's multiwalker_v9 itself,
    with the same observations and rewards, but without the layers around it and with rays of our
    own; and the end of time is truncation, where PettingZoo's is termination.

    All walkers are paid for each step of the package forward, 13 / 3 of its length in metres, and
    for holding their hulls as level as before. If a walker falls, or the package, or if it leaves
    to the left, all pay `terminate_reward`, a fallen walker also `fall_reward`, and the episode
    ends. It ends, too, when the package reaches the end of the ground.

    Observation, float32: 24 numbers of the own body (the hull's angle and velocities; angle and
    speed of hip and knee and whether the foot touches something, of both legs; ten rays to what is
    below and in front), the places of the neighbours behind and in front, of the package, and the
    package's angle. Places are offsets in lengths of the package; these seven numbers have noise.

    Actions, -1 to 1: the torques of hip and knee of both legs. The metrics describe the episode:
    the mean of the walkers' returns, how many metres the package came, and steps without a fall.
    """

    metrics: ClassVar[tuple[str, ...]] = ("return", "distance", "stood")
    outcomes: ClassVar[frozenset[str]] = frozenset(metrics)
    slow: ClassVar[bool] = True

    num_agents: int = Field(3, ge=2, le=40, description="walkers, side by side under the package")
    position_noise: float = Field(1e-3, ge=0, description="deviation of observed places")
    angle_noise: float = Field(1e-3, ge=0, description="deviation of the package's observed angle")
    forward_reward: float = Field(1.0, description="factor of the reward for a step forward")
    terminate_reward: float = Field(-100.0, description="of everybody for a fall")
    fall_reward: float = Field(-10.0, description="of a walker for its own fall, in addition")
    shared_reward: bool = Field(True, description="everybody earns the mean of all")
    terrain_length: int = Field(200, ge=50, description="of the ground, in pieces of 0.47 m")
    episode_length: int = Field(500, ge=1, description="steps until time runs out (truncation)")
    processes: int | None = PROCESSES

    @cached_property
    def groups(self) -> dict[str, Group]:
        parts = (
            Part("body", scalars=BODY),
            Part("neighbours", 2, scalars=2),
            Part("package", scalars=3),
        )
        return {
            WALKERS: Group(
                tuple(f"walker_{i}" for i in range(self.num_agents)),
                Box(-np.inf, np.inf, (sum(part.size for part in parts),), np.float32),
                Box(-1.0, 1.0, (TORQUES,), np.float32),
                parts,
                (Part("torques", scalars=TORQUES),),
            )
        }

    def make_world(self, num_worlds: int, seed: int, staggered: bool = False) -> PettingZooWorld:
        """Raises UserError if PettingZoo or its family sisl is not installed."""
        return described_world(self, "multiwalker", MODULE, MultiwalkerEnv, num_worlds, seed)


class MultiwalkerEnv(DescribedEnv):
    """PettingZoo's game without its layers, and `measures` of the episode."""

    metadata: ClassVar[dict[str, str]] = {"name": "multiwalker"}

    def __init__(self, scenario: Multiwalker) -> None:
        self.scenario = scenario
        self.env = make_game(scenario)
        self.names = scenario.groups[WALKERS].names
        self.measures = dict.fromkeys(Multiwalker.metrics, 0.0)
        self._playing: list[str] = []

    @property
    def agents(self) -> list[str]:
        return self._playing

    def reset(self, seed: int | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        self.env._seed(seed)
        self.env.reset()
        self._playing = [*self.names]
        self._begun = self.env.package.position.x
        self.measures = dict.fromkeys(Multiwalker.metrics, 0.0)
        return self._observations(), {name: {} for name in self.names}

    def step(self, actions: dict[str, np.ndarray]) -> tuple[dict, dict, dict, dict, dict]:
        game, last = self.env, len(self.names) - 1
        for i, name in enumerate(self.names):
            game.step(actions[name], i, i == last)
        over = any(game.last_dones)
        late = not over and game.frames >= self.scenario.episode_length
        if over or late:
            self._playing = []
        self.measures["return"] += float(np.mean(game.last_rewards))
        self.measures["distance"] = game.package.position.x - self._begun
        self.measures["stood"] += not (game.game_over or game.fallen_walkers.any())
        rewards = dict(zip(self.names, map(float, game.last_rewards), strict=True))
        terminated, truncated = (dict.fromkeys(self.names, end) for end in (over, late))
        infos: dict[str, dict] = {name: {} for name in self.names}
        return self._observations(), rewards, terminated, truncated, infos

    def _observations(self) -> dict[str, np.ndarray]:
        seen = [np.asarray(own, np.float32) for own in self.env.last_obs]
        return dict(zip(self.names, seen, strict=True))


def make_game(scenario: Multiwalker) -> Any:
    """PettingZoo's `MultiWalkerEnv` with rays of ours."""
    from pettingzoo.sisl.multiwalker import multiwalker_base as base

    speeds = (base.SPEED_HIP, base.SPEED_KNEE) * 2

    class Walker(base.BipedalWalker):
        """A walker that is told what its rays meet, as Box2D takes long to cast them."""

        rays: np.ndarray  # f64[RAYS]

        @property
        def bodies(self) -> list[Any]:
            return [self.hull, *self.legs]

        def apply_action(self, action: np.ndarray) -> None:
            for joint, fastest, share in zip(self.joints, speeds, action.tolist(), strict=True):
                joint.motorSpeed = fastest * float((share > 0.0) - (share < 0.0))
                joint.maxMotorTorque = base.MOTORS_TORQUE * min(abs(share), 1.0)

        def get_observation(self) -> list[float]:
            hull, speed = self.hull, self.hull.linearVelocity
            seen = [
                hull.angle,
                2.0 * hull.angularVelocity / base.FPS,
                0.3 * speed.x * base.VIEWPORT_W / base.SCALE / base.FPS,
                0.3 * speed.y * base.VIEWPORT_H / base.SCALE / base.FPS,
            ]
            for side in (0, 2):
                hip, knee = self.joints[side], self.joints[side + 1]
                seen += [hip.angle, hip.speed / base.SPEED_HIP]
                seen += [knee.angle + 1.0, knee.speed / base.SPEED_KNEE]
                seen.append(float(self.legs[side + 1].ground_contact))
            return [*seen, *self.rays.tolist()]

    class Game(base.MultiWalkerEnv):
        """The game, which casts the rays of all walkers at once."""

        walkers: list[Any]

        def setup(self) -> None:
            super().setup()
            height = self.walkers[0].init_y
            self.walkers = [Walker(self.world, x, height, seed=self.seed_val) for x in self.start_x]

        def reset(self) -> np.ndarray:
            self._shapes: Any = None
            return super().reset()

        def scroll_subroutine(self) -> tuple[np.ndarray, list[bool], list[np.ndarray]]:
            if self._shapes is None:
                self._shapes = *corners_of(self.walkers[0].bodies), np.array(self.terrain_y)
            poses = [
                [(*body.position, body.angle) for body in walker.bodies] for walker in self.walkers
            ]
            rays = cast(np.array(poses), *self._shapes, base.TERRAIN_STEP, base.LIDAR_RANGE)
            for walker, own in zip(self.walkers, rays, strict=True):
                walker.rays = own
            return super().scroll_subroutine()

        def render(self, close: bool = False) -> np.ndarray | None:
            for walker in self.walkers:
                if walker.hull is not None:
                    base.BipedalWalker.get_observation(walker)  # its rays are drawn
            return super().render(close)

    return Game(
        n_walkers=scenario.num_agents,
        position_noise=scenario.position_noise,
        angle_noise=scenario.angle_noise,
        forward_reward=scenario.forward_reward,
        terminate_reward=scenario.terminate_reward,
        fall_reward=scenario.fall_reward,
        shared_reward=scenario.shared_reward,
        terrain_length=scenario.terrain_length,
        max_cycles=scenario.episode_length,
        render_mode="rgb_array",
    )


def corners_of(bodies: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """The corners f64[B, SIDES, 2] of bodies with one polygon each, and their numbers i64[B]."""
    shapes = [body.fixtures[0].shape.vertices for body in bodies]
    corners = np.zeros((len(bodies), SIDES, 2))
    for own, shape in zip(corners, shapes, strict=True):
        own[: len(shape)] = shape
    return corners, np.array([len(shape) for shape in shapes])
