"""Commands that train: train, resume, demo."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from marl.cli.parser import Add, add_settings, whole
from marl.errors import RunsFailed

if TYPE_CHECKING:
    from marl.config.model import Config


def add_commands(add: Add) -> None:
    """Add them with their flags."""
    command = add("train", train, "train a new run")
    command.add_argument("config", metavar="CONFIG.json", help="a file, or a name from `marl list`")
    command.add_argument(
        "--name", help="name of the run; default: the config's name, with a number if taken"
    )
    command.add_argument("--seed", type=whole(0), help="seed; default: training.seed")
    command.add_argument(
        "--seeds",
        type=whole(2, 10_000),
        metavar="K",
        help="train K seeds, from --seed on, and keep the one that plays best; its default name is "
        "CONFIG-best",
    )
    add_settings(command, "replace a setting, such as world.num_agents=6")

    command = add("resume", resume, "continue a stopped or killed run with its stored config")
    command.add_argument("name", metavar="NAME", help="name of the run")
    add_settings(command, "change a setting, such as training.steps=4000000")


def add_demo(add: Add) -> None:
    """Add the demonstration."""
    command = add(
        "demo", demo, "train on 4 agents, then run on 4, 12, 80 and 1000: a table and GIFs"
    )
    add_settings(command, "replace a setting of spread.json, such as training.steps=500000")


def train(
    config: str,
    name: str | None,
    seed: int | None,
    settings: Sequence[str],
    seeds: int | None = None,
) -> str:
    """Train a new run, or the best of several; return its name."""
    from marl.config.parsing import find_config, load_config
    from marl.runs.run import as_name
    from marl.training import loop as training

    path = find_config(config)
    if seed is not None:
        settings = [*settings, f"training.seed={seed}"]
    if seeds is not None:
        name = name or f"{as_name(path.stem)}-best"
        _train_seeds(load_config(path, settings), name, seeds)
    else:
        name = training.train(load_config(path, settings), name, path.stem)
    print(f"Done: see it with `marl render {name}`, measure it with `marl evaluate {name}`")
    return name


def _train_seeds(config: "Config", name: str, count: int) -> None:
    """Train several seeds, let them play, and keep the best one under this name."""
    import os

    from marl.studies.tables import print_table
    from marl.sweeps.best_seed import keep, play, seed_sweep
    from marl.sweeps.progress import SweepDisplay
    from marl.sweeps.runner import run_sweep

    sweep = seed_sweep(config, name, count)
    with SweepDisplay(sweep) as display:
        for states in run_sweep(sweep, os.cpu_count() or 1):
            display.look(states)
    if sweep.failures:
        run, reason = next(iter(sweep.failures.items()))
        raise RunsFailed(f"{run} failed ({reason}); the same command tries it again")
    played = play(sweep.jobs)
    print_table([(x.job.name, result) for x in played for result in x.results])
    keep(played[0].job, name)
    seconds = sum(x.cpu_seconds for x in played)
    print(
        f"{name} is {played[0].job.name}, the best of {count} on these starts; all of them took "
        f"{seconds:.0f} CPU seconds of training. These starts have chosen it: measure it on others."
    )


def resume(name: str, settings: Sequence[str]) -> None:
    """Continue a run."""
    from marl.training import loop as training

    training.resume(name, settings)
    print(f"Done: see it with `marl render {name}`, measure it with `marl evaluate {name}`")


def demo(settings: Sequence[str]) -> None:
    """The whole story in one command."""
    from marl.cli.demo import show
    from marl.config.parsing import find_config, load_config
    from marl.training import loop as training

    config = load_config(find_config("spread"), settings)
    show(training.train(config, None, "demo"))
