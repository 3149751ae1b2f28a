"""The tables of the MADDPG paper (Lowe et al. 2017, tables 1 to 5) beside our results.

    python benchmarks/paper.py [communication navigation tag deception crypto] [--trained]
    python benchmarks/paper.py --page                     docs/paper.md from benchmarks/paper.md

Trains the sweeps experiments/paper_TABLE.json with `marl sweep`, which skips finished runs and
continues interrupted ones. Each policy plays greedily on starts that nothing else uses, against
rivals in every pairing (as in `marl crossplay`). Prints the tables.
"""

import argparse
import itertools
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from commands import marl

from marl import evaluation
from marl.agents.core.base import Policy
from marl.errors import UserError
from marl.runs.files import whole_file
from marl.runs.loading import find_policy
from marl.studies.crossplay import Crossplay
from marl.studies.entries import gather
from marl.studies.processes import in_processes
from marl.studies.statistics import interval, mean
from marl.studies.tables import Table, as_markdown, with_interval
from marl.worlds.base import Arrays, World
from marl.worlds.particles.world import ParticleWorld
from marl.worlds.spaces import one_hot

EPISODES = 1000  # of each run that plays alone
STEPS = 25  # of an episode
REQUEST = re.compile(r"<!-- table: (\w+) -->")

Values = Mapping[str, np.ndarray]
"""{metric: f64[R, S, E]} of a pairing or policy: runs, runs of the rivals, episodes."""


@dataclass(frozen=True)
class Game:
    """One world of a table. `printed`: the paper's figures by algorithm, or by the algorithms of
    both sides, in the order of the table's columns."""

    title: str
    world: dict[str, Any]  # parameters by which its runs are known
    printed: dict[tuple[str, ...], tuple[float, ...]]


@dataclass(frozen=True)
class PaperTable:
    """The players, the metrics, and the paper's figures."""

    players: tuple[str, ...]  # one: all learn together; two: they meet in all pairings
    columns: dict[str, Callable[[Values], np.ndarray]]
    games: tuple[Game, ...]
    more: dict[str, Callable[[Values], np.ndarray]] = field(default_factory=dict)  # ours only
    turned: bool = False  # the paper names the second of the scenario's sides first
    also: Callable[[str, list[str]], str] | None = None  # a sentence about runs of one algorithm


def percent(name: str) -> Callable[[Values], np.ndarray]:
    """Percentage of episodes in which a metric was 1 at the end."""
    return lambda values: 100 * values[name]


def ahead(one: str, other: str) -> Callable[[Values], np.ndarray]:
    """The difference of two metrics in percentage points."""
    return lambda values: 100 * (values[one] - values[other])


def within(name: str, distance: float) -> Callable[[Values], np.ndarray]:
    """Percentage of episodes with a smaller distance at the end."""
    return lambda values: 100.0 * (values[name] < distance)


MOVES = np.array([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]])  # stay, left, right, down, up


class Chase(Policy):
    """A run's policies, except that the predators move straight towards the prey."""

    def __init__(self, policy: Policy, world: World) -> None:
        assert isinstance(world, ParticleWorld)
        self._policy, self._world = policy, world

    def act(self, perceived: Arrays, explore: bool = False) -> Arrays:
        actions = self._policy.act(perceived, explore)
        predators = actions["adversaries"].shape[1]
        positions, _ = self._world.positions()
        way = positions[:, predators : predators + 1] - positions[:, :predators]
        return {**actions, "adversaries": one_hot((way @ MOVES.T).argmax(-1), len(MOVES))}


def played(run: str, policy: Callable[[Policy, World], Policy] | None = None) -> Values:
    """The metrics of a run's episodes, {metric: f64[E]}; `policy` may wrap the run's policy."""
    subject = find_policy(run)

    def maker(world: World, seed: int) -> Policy:
        own = subject.policy(world, seed)
        return policy(own, world) if policy else own

    agents, seed = subject.agents[0], subject.config.evaluation.seed
    values = evaluation.measure(maker, subject.world, agents, EPISODES, seed)
    if subject.scenario == "spread":
        # The shared reward is minus the sum of distances, minus 1 for every colliding pair.
        values["colliding"] = values["collisions"] * agents / 2
        values["left"] = values["mean_distance"] * agents
    return {name: column for name, column in values.items() if column.ndim == 1}


def chased(algorithm: str, runs: list[str]) -> str:
    """The touches by predators that move straight towards a trained prey."""
    touches = np.stack([STEPS * played(run, Chase)["touches"] for run in runs])
    ours = cell(touches[:, None])
    return f"Predators that run straight at it touch a prey that {algorithm} taught {ours} times."


MADDPG, DDPG = "MADDPG", "DDPG"


def pairings(*printed: tuple[float, ...]) -> dict[tuple[str, ...], tuple[float, ...]]:
    """The paper's figures, in the order of its rows."""
    return dict(zip(itertools.product((MADDPG, DDPG), repeat=2), printed, strict=True))


TABLES = {
    "communication": PaperTable(
        ("policy",),
        {"reached, %": percent("reached"), "distance": lambda values: values["mean_distance"]},
        (Game("", {}, {(MADDPG,): (84.0, 0.133), (DDPG,): (32.0, 0.456)}),),
    ),
    "navigation": PaperTable(
        ("policy",),
        {
            "distance": lambda values: -values["reward"] - values["colliding"],
            "collisions": lambda values: STEPS * values["colliding"],
        },
        (
            Game("N=3", {"num_agents": 3}, {(MADDPG,): (1.767, 0.209), (DDPG,): (1.858, 0.375)}),
            Game("N=6", {"num_agents": 6}, {(MADDPG,): (3.345, 1.366), (DDPG,): (3.350, 1.585)}),
        ),
        {"distance at the end": lambda values: values["left"]},
    ),
    "tag": PaperTable(
        ("predators", "prey"),
        {"touches": lambda values: STEPS * values["touches"]},
        (
            Game(
                "prey 30 % faster",
                {"good_speed": 1.3},
                pairings((11.0,), (16.1,), (10.3,), (9.4,)),
            ),
            Game(
                "prey 100 % faster",
                {"good_speed": 2.0},
                pairings((0.202,), (0.405,), (0.298,), (0.321,)),
            ),
        ),
        also=chased,
    ),
    "deception": PaperTable(
        ("agents", "adversary"),
        {
            "agents, %": percent("good_reached"),
            "adversary, %": percent("adversary_reached"),
            "difference": ahead("good_reached", "adversary_reached"),
        },
        (
            Game(
                "N=2",
                {"num_good": 2},
                pairings(
                    (94.4, 39.2, 55.2), (92.2, 16.4, 75.8), (68.9, 59.0, 9.9), (74.7, 38.6, 36.1)
                ),
            ),
            Game(
                "N=4",
                {"num_good": 4},
                pairings(
                    (81.5, 28.3, 53.2), (69.6, 19.8, 49.4), (35.7, 32.1, 3.6), (18.4, 35.8, -17.4)
                ),
            ),
        ),
        {
            "agents within 0.16, %": within("good_distance", 0.16),
            "adversary within 0.16, %": within("adversary_distance", 0.16),
        },
        turned=True,
    ),
    "crypto": PaperTable(
        ("Alice and Bob", "Eve"),
        {
            "Bob, %": percent("bob_right"),
            "Eve, %": percent("eve_right"),
            "difference": ahead("bob_right", "eve_right"),
        },
        (
            Game(
                "",
                {},
                pairings(
                    (96.5, 52.1, 44.4), (96.8, 44.4, 52.4), (65.3, 64.3, 1.0), (92.7, 67.6, 25.1)
                ),
            ),
        ),
        turned=True,
    ),
}


def measured(table: PaperTable, runs: list[str]) -> Iterator[tuple[tuple, Values]]:
    """The algorithms of each row and their results."""
    workers = os.cpu_count() or 1
    if len(table.players) == 2:
        crossplay = Crossplay(runs, None, None)
        for _ in crossplay.play(workers):
            pass
        names = [policy.config.agent_name.upper() for policy in crossplay.policies]
        for (i, j), values in crossplay.values.items():
            pair = names[i], names[j]
            yield pair[::-1] if table.turned else pair, values
        return
    done = dict(in_processes(played, runs, workers))
    groups, _ = gather(runs)
    for group in groups:
        own = [done[run] for run in group.runs]
        values = {name: np.stack([x[name] for x in own])[:, None] for name in own[0]}
        yield (group.config.agent_name.upper(),), values


def cell(values: np.ndarray, printed: float | None = None) -> str:
    """Our value with its interval, and the paper's."""
    digits = 1 if abs(values).max() >= 100 else 3
    ours = with_interval(mean(values), interval(mean, values, crossed=3), digits)
    return ours if printed is None else f"{ours}; paper {printed}"


def cells(table: PaperTable, values: Values | None, printed: Sequence[float]) -> list[str]:
    """The cells of a row; without values if no run is finished."""
    if values is None:
        return ["-"] * len({**table.columns, **table.more})
    pairs = zip(table.columns.values(), printed, strict=True)
    ours = [cell(of(values)) for of in table.more.values()]
    return [*(cell(of(values), figure) for of, figure in pairs), *ours]


def tables(name: str) -> list[str]:
    """One of the paper's tables beside ours, in Markdown."""
    table = TABLES[name]
    parts = []
    configs, left_out = gather([f"paper_{name}"])
    for game in table.games:
        worlds = [group.config.to_json()["world"] for group in configs]
        chosen = [
            group
            for group, world in zip(configs, worlds, strict=True)
            if game.world.items() <= world.items()
        ]
        runs = [run for group in chosen for run in group.runs]
        found = dict(measured(table, runs)) if runs else {}
        rows = [
            [*algorithms, *cells(table, found.get(algorithms), printed)]
            for algorithms, printed in game.printed.items()
        ]
        headings = [*table.players, *table.columns, *table.more]
        whole: Table = headings, rows
        cost = ", ".join(f"{group.config.agent_name.upper()} {group.cpu:.0f}" for group in chosen)
        parts += [f"**{game.title}**"] if game.title else []
        parts += [as_markdown(whole)]
        for group in chosen[:1]:
            parts += [
                f"{len(group.runs)} seeds, {group.config.training.steps // STEPS:,} episodes of "
                f"training each; CPU-s (median): {cost}."
            ]
        if table.also:
            parts += [table.also(group.config.agent_name.upper(), group.runs) for group in chosen]
    return [*parts, *left_out]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("tables", nargs="*", metavar="TABLE")
    parser.add_argument("--trained", action="store_true", help="of what is finished; train nothing")
    parser.add_argument("--page", action="store_true", help="write docs/paper.md")
    parser.add_argument("--out", type=Path, default=Path("docs/paper.md"))
    options = parser.parse_args()
    names = options.tables or list(TABLES)
    if unknown := [name for name in names if name not in TABLES]:
        parser.error(f"{unknown[0]!r} is no table; choose from {', '.join(TABLES)}")
    if options.page:
        text = Path(__file__).with_suffix(".md").read_text("utf-8")
        names = REQUEST.findall(text)
    for name in names:
        if not options.trained:
            marl("sweep", f"experiments/paper_{name}.json")
    try:
        found = {name: "\n\n".join(tables(name)) for name in names}
    except UserError as error:  # nothing is finished
        raise SystemExit(str(error)) from None
    if options.page:
        with whole_file(options.out) as unfinished:
            unfinished.write_text(REQUEST.sub(lambda match: found[match[1]], text), "utf-8")
    else:
        for name, said in found.items():
            print(f"## {name}", said, sep="\n\n", end="\n\n")


if __name__ == "__main__":
    main()
