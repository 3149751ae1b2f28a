"""Commands that train: train, resume, demo."""

from collections.abc import Sequence

from marl.cli.parser import Add, add_settings, whole


def add_commands(add: Add) -> None:
    """Add them with their flags."""
    command = add("train", train, "train a new run")
    command.add_argument("config", metavar="CONFIG.json", help="a file, or a name from `marl list`")
    command.add_argument(
        "--name", help="of the run; otherwise the config's, with a number if taken"
    )
    command.add_argument("--seed", type=whole(0), help="instead of training.seed")
    add_settings(command, "replace a setting, as world.num_agents=6")

    command = add("resume", resume, "continue a stopped or killed run with the config stored in it")
    command.add_argument("name", metavar="NAME", help="of the run")
    add_settings(command, "change a setting on the way, as training.steps=4000000")


def add_demo(add: Add) -> None:
    """Add the demonstration."""
    command = add(
        "demo", demo, "train on 4 agents, then run on 4, 12, 80 and 1000: a table and GIFs"
    )
    add_settings(command, "replace a setting of spread.json, as training.steps=500000")


def train(config: str, name: str | None, seed: int | None, settings: Sequence[str]) -> str:
    """Train a new run; its name is returned."""
    from marl.config.parsing import find_config, load_config
    from marl.training import loop as training

    path = find_config(config)
    if seed is not None:
        settings = [*settings, f"training.seed={seed}"]
    name = training.train(load_config(path, settings), name, path.stem)
    print(f"Done: see it with `marl render {name}`, measure it with `marl evaluate {name}`")
    return name


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
