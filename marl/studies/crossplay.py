"""Who wins against whom: one side of a scenario as each of the runs has learned it, against the
other side as each of the runs has.

What a run reaches with its own rivals says little, since both have learned side by side (Lowe et
al. 2017, tables 3 to 5, have the pairings of two agents). A policy with several seeds plays with
all of them against all of those of the other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from marl import evaluation
from marl.agents.core.base import Policy
from marl.config.model import world_to_json
from marl.config.parsing import parse_world
from marl.errors import UserError
from marl.policies.mixed import Mixed
from marl.runs.loading import find_policy
from marl.studies.entries import gather_groups
from marl.studies.processes import in_processes
from marl.studies.statistics import crossed_interval
from marl.studies.tables import Table
from marl.worlds.base import World

EPISODES = 200  # of each pair of runs


@dataclass(frozen=True)
class Match:
    """Two runs that meet: the one plays the first side, the other the second."""

    place: tuple[int, int, int, int]  # policy and policy, and which of their runs
    runs: tuple[str, str]
    sides: tuple[tuple[str, ...], tuple[str, ...]]  # groups
    world: dict[str, Any]  # the section of a config
    agents: int
    episodes: int
    seed: int


def _played(match: Match) -> dict[str, np.ndarray] | str:
    """What was measured, {name: f64[E]}, or why nothing was."""
    subjects = [find_policy(run) for run in match.runs]

    def mixed(world: World, seed: int) -> Policy:
        made = [subject.policy(world, seed) for subject in subjects]
        pairs = zip(match.sides, made, strict=True)
        return Mixed({g: policy for side, policy in pairs for g in side})

    try:
        world = parse_world(match.world, "world").world
        values = evaluation.measure(mixed, world, match.agents, match.episodes, match.seed)
    except UserError as error:
        return str(error)
    return {name: column for name, column in values.items() if column.ndim == 1}


class Crossplay:
    """Every policy against every policy. `values[i, j][name]` holds, where policy i plays the first
    side and j the second, a number for each episode of each pair of their runs, f64[R, S, E]."""

    def __init__(self, names: Sequence[str], episodes: int | None, seed: int | None) -> None:
        """Of runs (those that differ in their seed only are one policy) and sweeps. Raises
        UserError where one is unknown, not finished or of another scenario, and for a scenario
        that does not have two sides."""
        self.policies, self.left_out = gather_groups(names)
        first = find_policy(self.policies[0].runs[0])
        scenario = first.world
        for policy in self.policies:
            own = policy.config.scenario
            if own != first.scenario:
                raise UserError(
                    f"{policy.runs[0]} plays {own!r} and {first.name} plays "
                    f"{first.scenario!r}: only policies of one scenario can meet"
                )
        sides = scenario.sides or tuple((g,) for g in scenario.groups)
        if len(sides) != 2:
            raise UserError(
                f"the scenario {first.scenario!r} has {len(sides)} "
                f"side{'s' * (len(sides) > 1)}, but should have 2 to be played crosswise"
            )
        self.sides = (sides[0], sides[1])
        self.scenario, self.world = first.scenario, first.world
        self.agents = scenario.agent_count
        self.episodes = episodes or EPISODES
        self.seed = first.config.evaluation.seed if seed is None else seed
        self.metrics = [evaluation.RENAMED.get(name, name) for name in scenario.metrics]
        self.values: dict[tuple[int, int], dict[str, np.ndarray]] = {}

    def play(self, workers: int) -> Iterator[str]:
        """Let all of them meet, so many `workers` (processes) at a time. Yields what was played.
        Raises UserError where a policy does not fit."""
        runs = [policy.runs for policy in self.policies]
        section = world_to_json(self.scenario, self.world)
        common = self.sides, section, self.agents, self.episodes, self.seed
        matches = [
            Match((i, j, r, s), (one, other), *common)
            for i, j in np.ndindex(len(runs), len(runs))
            for r, one in enumerate(runs[i])
            for s, other in enumerate(runs[j])
        ]
        done = in_processes(_played, matches, max(1, min(workers, len(matches))))
        for count, (match, values) in enumerate(done, 1):
            if isinstance(values, str):
                raise UserError(values)
            i, j, r, s = match.place
            for name, column in values.items():
                shape = (len(runs[i]), len(runs[j]), len(column))
                found = self.values.setdefault((i, j), {})
                found.setdefault(name, np.empty(shape))[r, s] = column
            yield f"{count} of {len(matches)}: {match.runs[0]} against {match.runs[1]}"

    def table(self, name: str) -> Table:
        """One number of every pairing, with its 95 % interval."""
        labels = [policy.label for policy in self.policies]
        one, other = (" and ".join(side) for side in self.sides)
        rows = []
        for i, label in enumerate(labels):
            cells = []
            for j in range(len(labels)):
                values = self.values[i, j][name]
                low, high = crossed_interval(values)
                cells.append(f"{values.mean():.3f} [{low:.3f}, {high:.3f}]")
            rows.append([label, *cells])
        return [f"{one} \\ {other}", *labels], rows

    def objects(self) -> list[dict[str, Any]]:
        """Every pairing, with its means and their intervals."""
        found = []
        one, other = (" and ".join(side) for side in self.sides)
        for (i, j), values in sorted(self.values.items()):
            means: dict[str, Any] = {}
            for name, column in values.items():
                means |= {name: float(column.mean()), f"{name}_ci95": [*crossed_interval(column)]}
            found.append(
                {
                    one: self.policies[i].label,
                    other: self.policies[j].label,
                    "runs": [len(self.policies[i].runs), len(self.policies[j].runs)],
                    "episodes": self.episodes,
                    "seed": self.seed,
                    **means,
                }
            )
        return found
