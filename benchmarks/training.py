"""The time of each part of training, and the speed of training from end to end.

    python benchmarks/training.py [CONFIG ...] [--steps 20000] [--json FILE]
    python benchmarks/training.py --quick           a few seconds: does it run?

For each config (default: atoc and spread; N=4): CPU milliseconds per environment step of each part
of the training loop with a full replay (medians of several turns), of the same loop without timers,
and of `marl train` without its evaluations; and the floor: the matrix products of an update alone.
One core, one thread, CPU time.
"""

import argparse
import importlib.metadata
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch
from commands import marl
from peers.stepping import seconds_per_step
from simulator import ROOT, Target, pin, processor, write_report
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from marl.config.model import Config
from marl.config.parsing import find_config, load_config
from marl.errors import UserError
from marl.evaluation import one_thread
from marl.learning.replay import Replay
from marl.rollout import collect
from marl.runs.log import read_log

T = TypeVar("T")

ROUNDS = 5
PARTS = ("act", "step", "store", "sample", "update")
CROWD = 500  # worlds side by side, to fill a replay quickly
ORIGINAL = {"atoc": 430}
"""Env-steps per CPU-second of the original's ATOC at N=4, with the same batch and the same ratio of
updates to steps; measured on one core of a machine like ours."""

NOTES = """
act, step, store, sample, update: the agent's actions with noise; physics, observations and rewards,
resets included; Replay.add; Replay.sample; agent.update. rest: the loop around them, its schedules,
and the timers. floor: torch.mm and torch.bmm on operands of the shapes of an update's products,
forward and backward, and how many times as long the whole update takes. marl train: from its own
log, once learning is under way; that is logging and all checks, but no evaluation or checkpoint."""


class Clock:
    """CPU seconds of each part of the loop."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def timed(self, part: str, call: Callable[..., T]) -> Callable[..., T]:
        """Call `call` and count its time."""

        def counted(*args: Any) -> T:
            start = time.process_time()
            result = call(*args)
            self.seconds[part] += time.process_time() - start
            return result

        return counted


class Loop:
    """A training run in memory: the loop of `marl.training.loop` without log and files."""

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        t = self.training = config.training
        self.world = config.make_world(t.num_worlds, 0, t.staggered)
        self.agent = config.make_agent(self.world.groups, 0)
        generator = torch.Generator().manual_seed(0)
        groups = self.world.groups
        self.replay = Replay(groups, t.replay_size, generator, self.agent.columns(groups))
        crowd = config.make_world(min(CROWD, t.replay_size), 1)
        filling = collect(crowd, config.make_agent(crowd.groups, 1), explore=True)
        for turn in islice(filling, -(-t.replay_size // crowd.num_worlds)):
            self.replay.add(turn.transition)
        if clock:
            for part, owner, name in (
                ("act", self.agent, "act"),
                ("act", self.agent, "reset"),
                ("step", self.world, "step"),
                ("step", self.world, "reset"),
                ("store", self.replay, "add"),
                ("sample", self.replay, "sample"),
                ("update", self.agent, "update"),
            ):
                setattr(owner, name, clock.timed(part, getattr(owner, name)))
        self.turns = collect(self.world, self.agent, explore=True)
        self.steps = 0

    def run(self, steps: int) -> None:
        """Train for this number of environment steps."""
        t, end = self.training, self.steps + steps
        while self.steps < end:
            self.agent.anneal(min(1.0, self.steps / t.steps))
            self.replay.add(next(self.turns).transition)
            before, self.steps = self.steps, self.steps + t.num_worlds
            due = self.steps // t.update_every - before // t.update_every
            for _ in range(due * t.updates):
                self.agent.update(self.replay.sample(t.batch_size, self.agent.draw))


class Products(TorchDispatchMode):
    """Keeps operands with the shapes and layouts of all matrix products that torch computes."""

    def __init__(self) -> None:
        super().__init__()
        self.operands: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__.rstrip("_") in ("mm", "addmm", "bmm", "baddbmm"):
            a, b = args[-2:]
            self.operands.append((torch.randn_like(a), torch.randn_like(b)))
        return func(*args, **(kwargs or {}))

    def run(self, times: int) -> None:
        """Compute all products, and nothing else."""
        with torch.no_grad():
            for _ in range(times):
                for a, b in self.operands:
                    torch.mm(a, b) if a.dim() == 2 else torch.bmm(a, b)


@dataclass
class Result:
    """The measurements of one config."""

    config: str
    milliseconds: dict[str, float]  # per environment step
    loop: float  # env-steps per CPU-second
    train: float  # the same, of `marl train`
    updates_per_step: float
    update: float  # milliseconds
    floor: float  # milliseconds

    def __str__(self) -> str:
        whole = sum(self.milliseconds.values())
        lines = [f"{self.config}: {whole:.4f} ms per env-step"]
        lines += [f"{k:>10}{v:>10.4f}{v / whole:>7.0%}" for k, v in self.milliseconds.items()]
        for name, rate in (("the loop", self.loop), ("marl train", self.train)):
            updates = rate * self.updates_per_step
            lines.append(
                f"{name:>12}: {rate:,.0f} env-steps, {updates:,.1f} updates per CPU-second"
            )
        ratio = self.update / self.floor
        lines.append(
            f"   an update: {self.update:.2f} ms, floor {self.floor:.2f} ms: {ratio:.1f} times"
        )
        return "\n".join(lines)


def measure(path: Path, settings: list[str], steps: int, seconds: float) -> Result:
    """Measure one config."""
    config = load_config(path, settings)
    t = config.training
    clock = Clock()
    timed, plain = Loop(config, clock), Loop(config)
    for loop in (timed, plain):
        loop.run(4 * max(t.update_every, t.num_worlds))  # compiles the kernels, or loads them

    turns, rates = [], []
    steps = -(-steps // ROUNDS // t.update_every) * t.update_every  # in a turn
    for _ in range(ROUNDS):
        clock.seconds.clear()
        start, before = time.process_time(), timed.steps
        timed.run(steps)
        whole = time.process_time() - start
        parts = {part: clock.seconds[part] for part in PARTS}
        parts["rest"] = whole - sum(parts.values())
        turns.append({k: 1e3 * v / (timed.steps - before) for k, v in parts.items()})
        start, before = time.process_time(), plain.steps
        plain.run(steps)
        rates.append((plain.steps - before) / (time.process_time() - start))

    batch = plain.replay.sample(t.batch_size, plain.agent.draw)
    with Products() as products:
        for _ in range(cycle := 4):  # actors may learn in some updates only
            plain.agent.update(batch)
    update, floor = [], []
    for _ in range(ROUNDS):
        update.append(
            seconds_per_step(
                lambda n: [plain.agent.update(batch) for _ in range(n)], seconds, cycle
            )
        )
        floor.append(seconds_per_step(products.run, seconds) / cycle)
    return Result(
        path.stem,
        {k: statistics.median(turn[k] for turn in turns) for k in turns[0]},
        statistics.median(rates),
        train(path, settings, ROUNDS * steps),
        t.updates / max(t.update_every, t.num_worlds),
        1e3 * statistics.median(update),
        1e3 * statistics.median(floor),
    )


def train(path: Path, settings: list[str], steps: int) -> float:
    """Env-steps per CPU-second of `marl train`, from the first line of its log with updates to the
    last."""
    starts = load_config(path, settings).training.learning_starts
    steps += starts
    quiet = ("training.evaluate_every=0", "training.checkpoint_every=0")
    more = [*settings, *quiet, f"training.steps={steps}", f"training.log_every={steps // 10}"]
    with tempfile.TemporaryDirectory() as folder:
        marl("train", str(path), "--name", "run", "--set", *more, root=Path(folder))
        log = [line for line in read_log(Path(folder, "stats", "run")) if line["step"] >= starts]
    return (log[-1]["step"] - log[0]["step"]) / (log[-1]["cpu_seconds"] - log[0]["cpu_seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    shipped = [ROOT / "data" / "json" / f"{name}.json" for name in ("atoc", "spread")]
    parser.add_argument("configs", type=Path, nargs="*", default=shipped, metavar="CONFIG")
    parser.add_argument("--steps", type=int, default=20_000, help="of every kind of run")
    parser.add_argument("--seconds", type=float, default=0.3, help="for each measured update")
    parser.add_argument("--quick", action="store_true", help="a few steps, measured badly")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measurements here")
    args = parser.parse_args()
    settings = []
    if args.quick:
        args.configs, args.steps, args.seconds = args.configs[:1], 500, 0.01
        settings = ["training.replay_size=1000", "training.learning_starts=100"]
        settings += ["training.batch_size=32"]

    pin()
    about = [
        shlex.join(["python", *sys.argv]),
        processor(),
        f"python {platform.python_version()}, torch {importlib.metadata.version('torch')}",
    ]
    print(*about, NOTES, sep="\n", flush=True)
    results, reached = [], []
    try:
        paths = [find_config(str(config)) for config in args.configs]
    except UserError as error:
        parser.error(str(error))
    with one_thread():
        for path in paths:
            results.append(measure(path, settings, args.steps, args.seconds))
            print("", results[-1], sep="\n", flush=True)
            if original := ORIGINAL.get(path.stem):
                text = f"{path.stem}, env-steps per CPU-second, times the original's {original}"
                reached.append(Target(text, results[-1].train / original, 3))
    print("\nTargets", *reached, sep="\n")
    if args.json:
        write_report(args.json, about, results=results, targets=reached)


if __name__ == "__main__":
    main()
