"""Seeds side by side on one stack of networks, against a process for each seed.

    python benchmarks/seeds.py [--configs spread atoc_tuned maddpg_tuned] [--seeds 1 2 5 10]
    python benchmarks/seeds.py --quick            a few seconds: does it run?

Trains S seeds of a config with `train_together` on one core and one thread, as a process of a sweep
does, but without evaluations and checkpoints in between. The result is environment steps per CPU
second, summed over the seeds. It is the difference of two lengths of training, so the costs of the
start and the end cancel. S = 1 is a process for each seed: processes share nothing. All S take
turns several times; ratios are between medians.
"""

import argparse
import contextlib
import io
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version

from simulator import pin, processor

from marl.config.parsing import find_config, load_config
from marl.training.loop import train_together

CONFIGS = ("spread", "atoc_tuned", "ddpg_tuned", "maddpg_tuned")
QUIET = ("evaluate_every=0", "checkpoint_every=0", "replay_size=20000")


def cpu_seconds(config: str, seeds: int, steps: int, more: Sequence[str] = ()) -> float:
    """CPU seconds of one process that trains these seeds for `steps` each."""
    settings = [f"training.{setting}" for setting in (*QUIET, *more, f"log_every={steps}")]
    configs = {
        f"seed-{seed}": load_config(
            find_config(config),
            [*settings, f"training.steps={steps}", f"training.seed={seed}"],
        )
        for seed in range(seeds)
    }
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        os.environ["MARL_DATA"] = folder
        begun = time.process_time()
        train_together(configs)
        return time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--configs", nargs="+", default=CONFIGS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 5, 10])
    parser.add_argument("--steps", type=int, nargs=2, default=[2000, 5000], help="the two lengths")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="two small cases, measured badly")
    options = parser.parse_args()
    if options.quick:
        options.configs, options.seeds, options.steps = ["atoc_tuned"], [1, 2], [420, 500]
        options.rounds = 1
    more = ["batch_size=32"] if options.quick else []

    pin()
    print(shlex.join(["python", *sys.argv]), processor(), sep="\n")
    print(f"python {platform.python_version()}, torch {version('torch')}\n")
    print(f"{'config':>14}{'seeds':>7}{'env-steps per CPU-s':>22}{'times one seed':>16}")
    short, long = options.steps
    for config in options.configs:
        cpu_seconds(config, 1, 420, more)  # compile, load
        speeds: dict[int, list[float]] = {seeds: [] for seeds in options.seeds}
        for _ in range(options.rounds):
            for seeds, found in speeds.items():
                seconds = cpu_seconds(config, seeds, long, more)
                seconds -= cpu_seconds(config, seeds, short, more)
                found.append(seeds * (long - short) / seconds)
        alone = statistics.median(speeds[options.seeds[0]])
        for seeds, found in speeds.items():
            speed = statistics.median(found)
            print(f"{config:>14}{seeds:>7}{speed:>22,.0f}{speed / alone:>16.2f}", flush=True)


if __name__ == "__main__":
    main()
