"""Waterworld as a world: E ponds; see physics.py and kernels.py."""

from typing import ClassVar, Literal, Self

import numpy as np
from gymnasium.spaces import Box
from pydantic import Field

from marl.worlds.base import Arrays, Step, WorldConfig, checked_actions
from marl.worlds.compiled.world import CompiledWorld, first_state
from marl.worlds.scene import Scene
from marl.worlds.spaces import Group, Part
from marl.worlds.waterworld.kernels import reset_ponds, step_ponds
from marl.worlds.waterworld.physics import FORGOTTEN, WALLS, Pond, Rules

PURSUERS = "pursuers"
OBSTACLE, FOOD, POISON, AGENT = (
    (120, 176, 178, 255), (110, 210, 90, 255), (226, 96, 86, 255), (90, 95, 230, 255)
)  # fmt: skip
SIGHT = (90, 95, 230, 28)
WAYS = np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)], np.float32)  # of the discrete thrusts


class Waterworld(WorldConfig):
    """Agents swim in a square pond. `n_coop` of them must touch a piece of food at once to eat it.
    Poison costs; both begin anew elsewhere. PettingZoo's `waterworld_v4`, removed in 2026.

    Observation: `n_sensors` rays from the agent, the first to the right, then counterclockwise.
    Blocks of a number a ray: the distances to obstacles, walls, food, poison and other agents in
    lengths of a ray (1.0: nothing), and, after each of the last three, how fast the nearest recedes
    along the ray. At the end, whether the agent touches food, and whether it met poison. Rays are
    no plane vectors: turned by less than a whole ray, the pond looks different.
    Actions, float32[2]: the thrust, to the right and up; its length counts up to 1. Discrete: one
    of five, one-hot: none, left, right, down, up, with full thrust.
    """

    metrics: ClassVar[tuple[str, ...]] = ("return", "food", "poison")
    outcomes: ClassVar[frozenset[str]] = frozenset(metrics)

    num_agents: int = Field(5, ge=1, description="pursuers")
    num_food: int = Field(5, ge=0, description="pieces of food; grow with the number of agents")
    num_poison: int = Field(10, ge=0, description="pieces of poison; grow likewise")
    n_coop: int = Field(2, ge=1, description="agents that must touch a piece of food to eat it")
    n_sensors: int = Field(30, ge=1, le=1000, description="rays of an agent")
    sensor_range: float = Field(0.2, gt=0, le=10, description="length of a ray")
    radius: float = Field(
        0.015, gt=0, le=0.1, description="of agents; of food twice, of poison 3/4 of it"
    )
    obstacle_radius: float = Field(0.2, gt=0, le=0.4, description="of obstacles")
    num_obstacles: int = Field(
        1, ge=0, description="one stands in the middle, several stand anywhere in each episode"
    )
    size: float = Field(1.0, gt=0, le=1000, description="edge of the pond; all lengths in v4's")
    keep_density: bool = Field(
        False, description="whether the pond's area grows with the number of agents"
    )
    pursuer_max_accel: float = Field(
        0.01, gt=0, le=10, description="by which a thrust changes the speed in a step"
    )
    pursuer_speed: float = Field(
        0.2, gt=0, le=1, description="the most that agents move along either axis, in a second"
    )
    evader_speed: float = Field(0.01, ge=0, le=1, description="the same of food")
    poison_speed: float = Field(0.01, ge=0, le=1, description="the same of poison")
    food_reward: float = Field(10.0, description="for eating")
    poison_reward: float = Field(-1.0, description="for touching poison")
    encounter_reward: float = Field(0.01, description="for touching food, in each step")
    thrust_penalty: float = Field(-0.5, description="times the thrust's change of speed")
    local_ratio: float = Field(
        1.0, ge=0, le=1, description="share of its reward that an agent keeps; all share the rest"
    )
    speed_features: bool = Field(True, description="whether rays also sense speeds")
    legacy: bool = Field(
        True,
        description="as v4, with its faults in catching, paying and obstacles; false mends them",
    )
    actions: Literal["continuous", "discrete"] = Field(
        "continuous", description="a thrust, or one of none, left, right, down, up"
    )
    episode_length: int = Field(500, ge=1, description="steps until time runs out (truncation)")

    @property
    def groups(self) -> dict[str, Group]:
        kinds = ["food", "poison", "agent"]
        blocks = ["obstacle_distance", "wall_distance"]
        for kind in kinds:
            blocks += [f"{kind}_distance", f"{kind}_speed"][: 1 + self.speed_features]
        rays = self.n_sensors
        parts = [Part(block, scalars=rays, sizes=(1.0,) * rays) for block in blocks]
        parts += [Part("touches_food", scalars=1), Part("met_poison", scalars=1)]
        size = sum(part.size for part in parts)
        discrete = self.actions == "discrete"
        choices = len(WAYS) if discrete else 2
        return {
            PURSUERS: Group(
                tuple(f"pursuer_{i}" for i in range(self.num_agents)),
                Box(-np.inf, np.inf, (size,), np.float32),
                Box(0.0 if discrete else -1.0, 1.0, (choices,), np.float32),
                tuple(parts),
                # neither vector nor directions: rays would not turn with it
                (Part("thrust", scalars=choices, choice=discrete),),
            )
        }

    def with_agents(self, count: int) -> Self:
        """The same with so many agents. Food and poison grow in proportion; with `keep_density`,
        the area does, too. Obstacles stay as they are."""
        more = count / self.num_agents
        return self.replaced(
            num_agents=count,
            num_food=round(self.num_food * more),
            num_poison=round(self.num_poison * more),
            size=self.size * (more**0.5 if self.keep_density else 1.0),
        )

    def make_world(self, num_worlds: int, seed: int, staggered: bool = False) -> "WaterworldWorld":
        return WaterworldWorld(self, num_worlds, seed, staggered)

    def rules(self) -> Rules:
        """The settings as the kernels read them."""
        return Rules(
            self.num_agents, self.num_food, self.num_poison, self.n_coop, self.radius,
            self.obstacle_radius, self.size, self.pursuer_max_accel, self.pursuer_speed,
            self.evader_speed, self.poison_speed, self.poison_reward, self.food_reward,
            self.encounter_reward, self.thrust_penalty, self.local_ratio, self.speed_features,
            self.legacy, self.sensor_range,
        )  # fmt: skip


class WaterworldWorld(CompiledWorld):
    """E ponds."""

    outcomes = Waterworld.outcomes

    def __init__(
        self, scenario: Waterworld, num_worlds: int = 1, seed: int = 0, staggered: bool = False
    ) -> None:
        self.scenario, self.groups, self.num_worlds = scenario, scenario.groups, num_worlds
        self._staggered, self._rules = staggered, scenario.rules()
        angles = np.arange(scenario.n_sensors) * (2 * np.pi / scenario.n_sensors)
        self._rays = np.stack([np.cos(angles), np.sin(angles)], -1)
        n, others = scenario.num_agents, scenario.num_food + scenario.num_poison
        bodies, things = (num_worlds, n + others), WALLS + scenario.num_obstacles
        self._state: Arrays = {
            "position": np.zeros((*bodies, 2)),
            "velocity": np.zeros((*bodies, 2)),
            "clearing": np.zeros((*bodies, 2)),
            "impulse": np.zeros((*bodies, things)),
            "met": np.full((*bodies, things), -FORGOTTEN),
            "touching": np.zeros((num_worlds, n, others), bool),
            "count": np.zeros((num_worlds, scenario.num_food), np.int64),
            "obstacles": np.zeros((num_worlds, scenario.num_obstacles, 2)),
            "clock": np.zeros(num_worlds, np.int64),
            **first_state(seed, num_worlds),
            "poisoned": np.zeros((num_worlds, n), np.int64),  # of agents, in the last step
            "totals": np.zeros((num_worlds, 3)),  # the metrics
        }

    @property
    def _pond(self) -> Pond:
        return Pond(*(self._state[name] for name in Pond._fields))

    def reset(self, mask: np.ndarray | None = None) -> Arrays:
        s = self._state
        starting = self.starting(mask, self.scenario.episode_length)
        observation = self._new_observation()
        reset_ponds(
            self._pond, s["keys"], s["draws"], starting, self._rules, self._rays, s["poisoned"],
            observation,
        )  # fmt: skip
        s["totals"][starting] = 0
        return {PURSUERS: observation}

    def _new_observation(self) -> np.ndarray:
        group = self.groups[PURSUERS]
        shape = (self.num_worlds, len(group), *group.observation_space.shape)
        return np.empty(shape, np.float32)

    def step(self, actions: Arrays) -> Step:
        s, shape = self._state, (self.num_worlds, self.scenario.num_agents)
        space = self.groups[PURSUERS].action_space.shape
        given = checked_actions(actions, PURSUERS, self.groups, (*shape, *space))
        if self.scenario.actions == "discrete":
            given = given @ WAYS
        eaten, reward = np.empty(shape, bool), np.empty(shape)
        observation = self._new_observation()
        step_ponds(
            self._pond, s["keys"], s["draws"], self._rules, self._rays, given, eaten, s["poisoned"],
            reward, observation,
        )  # fmt: skip
        s["totals"] += np.stack([reward.mean(1), eaten.mean(1), s["poisoned"].mean(1)], -1)
        s["steps"] += 1
        truncated = s["steps"] >= self.scenario.episode_length
        totals = s["totals"].astype(np.float32)
        return Step(
            observation={PURSUERS: observation},
            reward={PURSUERS: reward.astype(np.float32)},
            terminated={PURSUERS: np.zeros(shape, bool)},
            truncated=truncated,
            active={PURSUERS: np.ones(shape, bool)},
            done=truncated,
            metrics={name: totals[:, m] for m, name in enumerate(Waterworld.metrics)},
        )

    def state(self) -> np.ndarray:
        s = self._state
        names = ("position", "velocity", "obstacles", "touching", "count")
        pieces = [s[name].reshape(self.num_worlds, -1) for name in names]
        return np.concatenate(pieces, axis=1).astype(np.float32)

    def scene(self, world: int = 0) -> Scene:
        s, scenario = self._state, self.scenario
        n, f = scenario.num_agents, scenario.num_food
        agents, food, poison = np.split(s["position"][world], [n, n + f])
        discs = (
            (s["obstacles"][world], scenario.obstacle_radius, OBSTACLE),
            (agents, scenario.sensor_range, SIGHT),
            (food, 2 * scenario.radius, FOOD),
            (poison, 0.75 * scenario.radius, POISON),
            (agents, scenario.radius, AGENT),
        )
        half = 0.5 * scenario.size
        return Scene(
            (half, half),
            (np.concatenate([at for at, _, _ in discs]) - half).astype(np.float32),
            np.concatenate([np.full(len(at), radius) for at, radius, _ in discs]).astype(
                np.float32
            ),
            np.concatenate([np.tile(colour, (len(at), 1)) for at, _, colour in discs]).astype(
                np.uint8
            ),
            f"step {s['steps'][world]}",
        )
