"""The speed of the particle world beside MPE2, VMAS and JaxMARL, and with up to 100 000 agents.

    python benchmarks/simulator.py [--agents 4 12 80] [--large 1000 10000 100000]
                                   [--scenarios NAME...] [--json FILE]
    python benchmarks/simulator.py --crossover      lanes against cells, for CELLS_FROM in world.py

Times are CPU seconds on one core. Ours and the peers take turns several times, so other load on the
machine affects all of them. Ratios are between medians.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from peers.stepping import EPISODE, PEERS, random_actions, random_order, seconds_per_step

from marl.worlds.particles.lanes import WIDTH
from marl.worlds.particles.scenario import Scenario
from marl.worlds.particles.scenarios.spread import Spread
from marl.worlds.particles.world import CELLS_FROM, ParticleWorld
from marl.worlds.registry import find_scenario

ROOT = Path(__file__).parent.parent
ROUNDS = 3

BATCHES: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {
    "marl": ((1, 64, 1024, 4096, 16384), (1, 64, 1024, 4096), (1, 16, 128, 512)),
    "mpe2": ((1,), (1,), (1,)),
    "vmas": ((1024, 4096, 16384, 65536), (1024, 4096), (64, 1024)),
    "jaxmarl": ((1, 64, 1024, 4096), (1, 64, 1024), (1, 16)),
}
"""Worlds side by side, for up to 6, up to 20 and more agents, until more of them bring no speed or
take too long."""

TARGETS = {"mpe2": (20, 20, 20), "vmas": (8, 20, 20), "jaxmarl": (20, 20, 20)}
"""Target speeds in `spread`, relative to each peer, for the same three sizes."""

ONE_WORLD, BEST_BATCH = 20, 5
"""The same for any scenario: of MPE2 with a single world, of the best of all at its best batch."""

SCENARIOS = ("simple", "adversary", "crypto", "push", "reference", "speaker_listener", "spread",
             "tag", "world_comm")  # fmt: skip
AS_THEY_COME: dict[str, dict[str, Any]] = {
    "spread": {
        "num_agents": 3,
        "observation": "everything",
        "reward": "mpe2",
        "agent_density": 3,  # the square from -1 to 1
    }
}
"""Parameters that make of our scenario what MPE has, where it is not that by itself."""

FLAT, AGENT_STEPS = 1.5, 1.2e6
"""In the largest world: the most that an agent may cost, relative to one in the smallest of the
large ones, and how many agent-steps we want every second."""

NOTES = f"""
Timed: world.step(actions) and world.reset(step.done), that is physics, contacts, every agent's
observation, reward and metrics. Random continuous actions, drawn beforehand; episodes of {EPISODE}
steps; float32 (mpe2: float64); one core, CPU time; the median of several turns, and the best.
Not the same in all: ours observes the nearest 3 agents and 4 landmarks, in a square that grows with
the number of agents; the peers, used as they come, observe everybody, in a square of fixed size.
JaxMARL's loop over steps is compiled with the rest, the others are stepped from Python; it draws a
new start in every step. Ours is timed over whole episodes, a slow peer over less, which spares it
the resets. The scenarios that follow are as they come in all, with as many agents and, but for
metrics, the same to be computed."""

HEADER = """
 library   agents   worlds    env-steps/s        at best  agent-steps/s"""


def size(agents: int) -> int:
    """The column of the tables above for this number of agents."""
    return 0 if agents <= 6 else 1 if agents <= 20 else 2


@dataclass
class Case:
    """A number of worlds and agents, and the times of one step of all of them, turn by turn."""

    library: str
    agents: int
    worlds: int
    scenario: str = "spread"
    seconds: list[float] = field(default_factory=list)
    bytes_per_agent: float | None = None

    @property
    def rate(self) -> float:
        """The median of env-steps per second."""
        return self.worlds / statistics.median(self.seconds)

    def __str__(self) -> str:
        rates = self.rate, self.worlds / min(self.seconds), self.rate * self.agents
        row = f"{self.library:>8} {self.agents:>8,} {self.worlds:>8,}"
        row += "".join(f" {rate:>14,.{int(rate < 100)}f}" for rate in rates)
        return row if self.bytes_per_agent is None else f"{row} {self.bytes_per_agent:>12,.0f}"


@dataclass
class Target:
    """A figure and its target."""

    text: str
    value: float
    wanted: float
    at_most: bool = False

    def __str__(self) -> str:
        ok = self.value <= self.wanted if self.at_most else self.value >= self.wanted
        limit = f"at {'most' if self.at_most else 'least'} {self.wanted:,}"
        return f"{'ok' if ok else 'MISSED':>8}  {self.text}: {self.value:,.2f} ({limit})"


def write_report(path: Path, about: list[str], **measured: Sequence[Any]) -> None:
    """Write all measurements, lists of dataclasses by name, as JSON."""
    lists = {name: [*map(asdict, items)] for name, items in measured.items()}
    path.write_text(json.dumps({"about": about, **lists}, indent=1))


# ---------------------------------------------------------------------------------- ours and peers


def spread(agents: int) -> Spread:
    """`spread` without the neighbours' velocities, which the peers' agents do not see either."""
    return Spread(num_agents=agents, perceive_velocities=False)


def as_it_comes(name: str) -> Scenario:
    """The scenario with MPE's agents and landmarks."""
    parameters = {"episode_length": EPISODE, **AS_THEY_COME.get(name, {})}
    scenario = find_scenario(name)(**parameters)
    assert isinstance(scenario, Scenario)
    return scenario


class Ours:
    """Our worlds after one step, which compiles or loads the kernels."""

    def __init__(self, scenario: Scenario, worlds: int, **options: Any) -> None:
        self.world = ParticleWorld(scenario, worlds, **options)
        rng = np.random.default_rng(0)
        drawn = {
            g: random_actions(group.action_space, worlds, len(group), rng=rng)
            for g, group in self.world.groups.items()
        }
        self.actions = [
            dict(zip(drawn, batch, strict=True)) for batch in zip(*drawn.values(), strict=True)
        ]
        self.world.reset()
        self.run(1)

    def run(self, steps: int) -> None:
        """Step all worlds; each begins a new episode when one is over."""
        for i in random_order(steps):
            step = self.world.step(self.actions[i])
            self.world.reset(step.done)


class Peer:
    """Another library in a process of its own."""

    def __init__(self, name: str, python: str, script: str = "stepping.py") -> None:
        self.name = name
        self._process = subprocess.Popen(
            [python, str(ROOT / "benchmarks" / "peers" / script), name],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        greeting = self._answer()
        if "missing" in greeting:
            raise ImportError(greeting["missing"])
        self.versions = greeting["versions"]

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} stopped with status {self._process.wait()}")
        return json.loads(line)

    def seconds_per_step(self, seconds: float, **case: Any) -> float:
        """CPU seconds of one step of the case, measured for about `seconds`. Raises RuntimeError if
        the library fails."""
        print(json.dumps({**case, "seconds": seconds}), file=self._process.stdin, flush=True)
        answer = self._answer()
        if isinstance(answer, dict):
            raise RuntimeError(answer["failed"])
        return answer


def start_peers(python: str) -> list[Peer]:
    """The peers that this interpreter has."""
    peers = []
    for name in PEERS:
        try:
            peers.append(Peer(name, python))
        except (ImportError, OSError, RuntimeError) as error:
            print(
                f"{name} is left out ({error}). `make bench-peers` builds an environment with it."
            )
    return peers


# ------------------------------------------------------------------------------------ measurements


def compare(
    name: str, scenario: Scenario, peers: list[Peer], seconds: float, **asked: Any
) -> list[Case]:
    """Time ours and the peers at all their batch sizes: ours, a peer, ours, the next peer, and so
    on. Skips peers that lack the scenario or fail in it."""
    agents, peers = scenario.agent_count, [*peers]
    names = ["marl", *(peer.name for peer in peers)]
    cases = {
        library: [Case(library, agents, e, name) for e in BATCHES[library][size(agents)]]
        for library in names
    }
    ours = {case.worlds: Ours(scenario, case.worlds) for case in cases["marl"]}
    for _ in range(ROUNDS):
        turns: list[Peer | None] = [*peers] or [None]
        for peer in turns:
            for case in cases["marl"]:
                case.seconds.append(seconds_per_step(ours[case.worlds].run, seconds, EPISODE))
            if peer is None:
                continue
            try:
                for case in cases[peer.name]:
                    asking = {"scenario": name, "worlds": case.worlds, **asked}
                    case.seconds.append(peer.seconds_per_step(seconds, **asking))
            except (OSError, RuntimeError) as error:  # OSError: it has stopped before
                why = str(error).partition("\n")[0]
                print(f"{peer.name} is left out in {name} ({why})")
                peers.remove(peer)
                del cases[peer.name]
    return [case for own in cases.values() for case in own]


def targets(cases: list[Case]) -> list[Target]:
    """Our speed beside each peer's, from the cases of one number of agents."""
    agents, found = cases[0].agents, []
    for peer in dict.fromkeys(case.library for case in cases if case.library != "marl"):
        single = peer == "mpe2"
        ours = max(c.rate for c in cases if c.library == "marl" and (c.worlds == 1 or not single))
        theirs = max(case.rate for case in cases if case.library == peer)
        text = f"N={agents}, {'one world' if single else 'best batch'}, times as fast as {peer}"
        found.append(Target(text, ours / theirs, TARGETS[peer][size(agents)]))
    return found


def scenario_targets(cases: list[Case]) -> list[Target]:
    """Our speed beside the peers', from the cases of one scenario."""
    best: dict[str, float] = {}
    for case in cases:
        best[case.library] = max(best.get(case.library, 0.0), case.rate)
    one = next(case.rate for case in cases if case.library == "marl" and case.worlds == 1)
    ours, name, found = best.pop("marl"), cases[0].scenario, []
    if "mpe2" in best:
        text = f"{name}, one world, times as fast as mpe2"
        found.append(Target(text, one / best["mpe2"], ONE_WORLD))
    if best:
        first = max(best, key=lambda library: best[library])
        text = f"{name}, best batch, times as fast as the best of the others, {first}"
        found.append(Target(text, ours / best[first], BEST_BATCH))
    return found


def grow(sizes: list[int], seconds: float) -> list[Case]:
    """Time our large worlds: one at a time, and sixteen of the smallest."""
    cases = [Case("marl", min(sizes), 16), *(Case("marl", agents, 1) for agents in sorted(sizes))]
    worlds = [Ours(spread(case.agents), case.worlds) for case in cases]
    for _ in range(ROUNDS):
        for case, ours in zip(cases, worlds, strict=True):
            case.seconds.append(seconds_per_step(ours.run, seconds, EPISODE))
    for case in cases:
        case.bytes_per_agent = memory(case.agents, case.worlds)
    return cases


def large_targets(cases: list[Case]) -> list[Target]:
    """Cost per agent in the largest world relative to the smallest, and its agent-steps."""
    few, many = cases[0].agents, cases[-1].agents
    agent_steps = cases[-1].rate * many
    best = max(case.rate * few for case in cases if case.agents == few)
    return [
        Target(f"cost per agent, N={many} over N={few}", best / agent_steps, FLAT, at_most=True),
        Target(f"million agent-steps/s, N={many}", agent_steps / 1e6, AGENT_STEPS / 1e6),
    ]


def memory(agents: int, worlds: int) -> float:
    """Bytes for each agent at the peak of a reset and two steps, actions included."""
    tracemalloc.start()
    actions = {"agents": np.zeros((worlds, agents, 2), np.float32)}
    world = ParticleWorld(spread(agents), worlds)
    world.reset()
    for _ in range(2):
        step = world.step(actions)
        world.reset(step.done)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / (agents * worlds)


def crossover(seconds: float) -> None:
    """Time lanes against cells, and print the number of agents from which cells win."""
    sizes = (5, 10, 20, 40, 80, 160, 320, 640)
    print("Time with lanes over time with cells; cells win above 1.\n")
    print("  worlds" + "".join(f"{f'N={n}':>8}" for n in sizes) + "   cells win from N, CELLS_FROM")
    for worlds in (1, 16, 64):
        ratios = []
        for agents in sizes:
            ours = [Ours(spread(agents), worlds, search=x) for x in ("lanes", "cells")]
            turns = [[seconds_per_step(o.run, seconds) for o in ours] for _ in range(ROUNDS)]
            lanes, cells = np.median(turns, axis=0)
            ratios.append(lanes / cells)
        rising = np.maximum.accumulate(np.log(ratios))
        first = np.exp(np.interp(0.0, rising, np.log(sizes)))  # one of `sizes` at either end
        lanes_for_each = -(-worlds // WIDTH) * WIDTH / worlds
        row = f"{worlds:>8}" + "".join(f"{ratio:>8.2f}" for ratio in ratios)
        sign = "<=" if ratios[0] >= 1 else ">=" if ratios[-1] < 1 else ""
        print(f"{row}   {sign}{first:.0f}, {sign}{first * lanes_for_each:.0f}", flush=True)
    print(f"\nCELLS_FROM is {CELLS_FROM}.")


# ---------------------------------------------------------------------------------------- the run


def pin() -> None:
    """Bind this process and its children to one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def processor() -> str:
    """The name of the CPU."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, nargs="*", default=[4, 12, 80])
    parser.add_argument("--large", type=int, nargs="*", default=[1000, 10_000, 100_000])
    parser.add_argument("--scenarios", nargs="*", choices=SCENARIOS, default=SCENARIOS)
    parser.add_argument("--peers", metavar="PYTHON", help="the interpreter that has the peers")
    parser.add_argument("--seconds", type=float, default=0.3, help="for each measurement")
    parser.add_argument("--crossover", action="store_true", help="lanes against cells, only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measurements here")
    args = parser.parse_args()

    pin()
    packages = ("marl", "numpy", "numba")
    about = [
        shlex.join(["python", *sys.argv]),
        processor(),
        f"python {platform.python_version()}, "
        + ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages),
    ]
    if args.crossover:
        print(*about, "", sep="\n")
        crossover(args.seconds)
        return

    prepared = ROOT / ".venv-peers" / "bin" / "python"
    peers = start_peers(args.peers or str(prepared if prepared.exists() else sys.executable))
    about += [peer.versions for peer in peers]
    print(*about, NOTES, sep="\n", flush=True)
    cases: list[Case] = []
    reached: list[Target] = []
    for agents in args.agents:
        compared = compare("spread", spread(agents), peers, args.seconds, agents=agents)
        print(HEADER, *compared, sep="\n", flush=True)
        cases += compared
        reached += targets(compared)
    if args.large:
        large = grow(args.large, args.seconds)
        print(HEADER + "  bytes/agent", *large, sep="\n")
        cases += large
        reached += large_targets(large)
    for name in args.scenarios:
        compared = compare(name, as_it_comes(name), peers, args.seconds)
        print(f"\n{name}{HEADER}", *compared, sep="\n", flush=True)
        cases += compared
        reached += scenario_targets(compared)
    print("\nTargets", *reached, sep="\n")
    if args.json:
        write_report(args.json, about, cases=cases, targets=reached)


if __name__ == "__main__":
    main()
