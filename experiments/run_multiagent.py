r"""The original's command line: train on a particle world, or show a trained run.

    python experiments/run_multiagent.py --type ATOC --num-agents 4 --name first
    python experiments/run_multiagent.py --render --deserialize \
        data/models/first/weights.safetensors

Without --deserialize, this trains a new run; --benchmark, --render and --gif show its policy.
A flag that is not typed never overrides the config.
"""

import argparse
import json
from pathlib import Path

from marl.cli.evaluate import evaluate, render
from marl.cli.parser import Parser, whole
from marl.cli.train import train
from marl.errors import run_command


def main() -> None:
    """Parse the flags, train or load a run, then measure and show it."""
    options = parse()
    kind = options.pop("type", None)
    settings = [f"{key}={json.dumps(options[flag])}" for flag, key in SETTINGS if flag in options]
    if "exploration" in options:
        settings.append(f"exploration.kind={options['exploration']}")
    if "epsilon" in options:
        settings += [f"exploration.{key}={options['epsilon']}" for key in ("scale", "final_scale")]

    agents, steps = options.get("num_agents"), None
    view: list[str] = []
    if "deserialize" in options:
        name = options["deserialize"]
        view = [setting for setting in settings if setting.startswith("world.num_perceived")]
        steps = options.get("num_steps")
        stats = options.get("name") or Path(name).resolve().parent.name
    else:
        if "num_steps" in options:
            settings.append(f"training.steps={options['num_steps']}")
        config = options.get("config", (kind or "atoc").lower())
        if kind and "config" in options:
            settings += TYPES[kind]
        name = stats = train(config, options.get("name"), options.get("seed"), settings)

    seed = options.get("seed")
    if "benchmark" in options:
        from marl.runs.run import Run

        file = Run(stats).stats / "evaluation.json"
        evaluate(name, agents and [agents], None, seed, file, view)
        print(file)
    if "render" in options or "gif" in options:
        fps = 1 / options["sleep"] if options.get("sleep") else None
        window, gif = "render" in options, options.get("gif")
        render(name, agents, steps, seed or 0, gif, window, view, fps)


SETTINGS = (
    ("num_agents", "world.num_agents"),
    ("num_landmarks", "world.num_landmarks"),
    ("num_perceived_agents", "world.num_perceived_agents"),
    ("num_perceived_landmarks", "world.num_perceived_landmarks"),
)

TYPES = {  # what a type means on top of another config; alone it is the config of its name
    "ATOC": ["agent.name=atoc"],
    "ATOC_COMM": ["agent.name=atoc_comm"],
    "DDPG": ["agent.name=ddpg"],
    "GLOBAL": ["agent.name=global"],
    "MADDPG": ["agent.name=maddpg"],
    "SADDPG": ["agent.name=saddpg"],
    "MADDPG_PSNE": ["agent.name=maddpg", "exploration.kind=psne"],
}


def parse() -> dict:
    """The flags that were typed, and no others."""
    parser = Parser(
        description=__doc__,
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--type", choices=TYPES, help="which agent; default: ATOC")
    add("--name", help="of the run")
    add("--config", metavar="CONFIG.json", help="default: atoc")
    add("--seed", type=whole(0), help="of all random streams")
    add("--num-agents", type=whole(1), metavar="N")
    add("--num-landmarks", type=whole(1), metavar="L", help="default: as many as agents")
    add("--num_perceived_agents", "--num-perceived-agents", type=whole(0), metavar="K")
    add("--num_perceived_landmarks", "--num-perceived-landmarks", type=whole(1), metavar="K")
    add("--num-steps", type=whole(1), metavar="T", help="of training; else of what is shown")
    add("--deserialize", metavar="FILE", help="do not train: load these weights")
    add("--exploration", choices=["ou", "gaussian", "psne"], help="default: the config's")
    add(
        "--epsilon",
        type=float,
        metavar="E",
        help="exploration scale; default: the config's schedule",
    )
    add("--benchmark", action="store_true", help="collect and store evaluation statistics")
    add("--render", action="store_true", help="open a live window")
    add("--sleep", type=float, metavar="SECONDS", help="between two frames of the window")
    add("--gif", type=Path, metavar="FILE", help="write a movie")
    return vars(parser.parse_args())


if __name__ == "__main__":
    run_command(main)
