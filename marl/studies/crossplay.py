"""Who wins against whom: one side of a scenario as each of the runs has learned it, against the
other side as each of the runs has.

What a run reaches with its own rivals says little, since both have learned side by side (Lowe et
al. 2017, tables 3 to 5, have the pairings of two agents). A policy with several seeds plays with
all of them against all of those of the other.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from marl import evaluation
from marl.config.model import world_to_json
from marl.errors import UserError
from marl.studies.entries import gather
from marl.studies.measurements import Task, measure
from marl.studies.statistics import interval, mean
from marl.studies.tables import Table, with_interval

EPISODES = 200  # of each pair of runs


class Crossplay:
    """Every policy against every policy. `values[i, j][name]` holds, where policy i plays the first
    side and j the second, a number for each episode of each pair of their runs, f64[R, S, E]."""

    def __init__(self, names: Sequence[str], episodes: int | None, seed: int | None) -> None:
        """Of runs (those that differ in their seed only are one policy) and sweeps. Raises
        UserError where one is unknown, not finished or of another scenario, and for a scenario
        that does not have two sides."""
        self.policies, self.left_out = gather(names)
        first = next(iter(self.policies[0].policies.values()))
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
        self.max_steps = first.config.evaluation.max_steps
        self.values: dict[tuple[int, int], dict[str, np.ndarray]] = {}

    def play(self, workers: int) -> Iterator[str]:
        """Let all of them meet, so many `workers` (processes) at a time. Yields what was played.
        Raises UserError where a policy does not fit."""
        runs = [policy.runs for policy in self.policies]
        section = world_to_json(self.scenario, self.world)
        pairings = [*np.ndindex(len(runs), len(runs))]
        tasks = [
            Task(
                (one, other),
                section,
                self.agents,
                self.episodes,
                self.seed,
                max_steps=self.max_steps,
                sides=self.sides,
            )
            for i, j in pairings
            for one in runs[i]
            for other in runs[j]
        ]
        rows = yield from measure(tasks, workers, strict=True)
        values = iter([row["values"] for row in rows if not isinstance(row, UserError)])
        for i, j in pairings:
            shape = len(runs[i]), len(runs[j]), -1
            played = list(islice(values, len(runs[i]) * len(runs[j])))
            self.values[i, j] = {
                name: np.array([found[name] for found in played]).reshape(shape)
                for name in played[0]
                if "@" not in name
            }

    def table(self, name: str) -> Table:
        """One number of every pairing, with its 95 % interval."""
        labels = [policy.label for policy in self.policies]
        one, other = (" and ".join(side) for side in self.sides)
        rows = []
        for i, label in enumerate(labels):
            found = [self.values[i, j][name] for j in range(len(labels))]
            cells = [with_interval(mean(x), interval(mean, x, crossed=3)) for x in found]
            rows.append([label, *cells])
        return [f"{one} \\ {other}", *labels], rows

    def objects(self) -> list[dict[str, Any]]:
        """Every pairing, with its means and their intervals."""
        found = []
        one, other = (" and ".join(side) for side in self.sides)
        for (i, j), values in sorted(self.values.items()):
            means: dict[str, Any] = {}
            for name, column in values.items():
                ends = interval(mean, column, crossed=3)
                means |= {name: mean(column), f"{name}_ci95": [*ends]}
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
