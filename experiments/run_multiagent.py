r"""The original's command line: train on a particle world, or show a trained run.

    python experiments/run_multiagent.py --type ATOC --num-agents 4 --name first
    python experiments/run_multiagent.py --render --deserialize \
        data/models/first/weights.safetensors

Without --deserialize, this trains a new run; --benchmark, --render and --gif show its policy. With
it, the loaded policy is shown, or measured if no flag says how. With --num-steps and neither
--render nor --gif, the run of that file trains so many steps more.
A flag that is not typed never overrides the config; one that has no effect is refused.
"""

import argparse
import json
from pathlib import Path

from marl.cli.evaluate import evaluate, render
from marl.cli.parser import Parser, whole
from marl.cli.train import resume, train
from marl.errors import UserError, run_command
from marl.folders import data_root


def main() -> None:
    """Parse the flags, train or load a run, then measure and show it."""
    options = parse()
    check_effects(options)
    if "deserialize" not in options:
        name = stats = train_new(options)
    else:
        name = options["deserialize"]
        stats = options.get("name") or Path(name).resolve().parent.name
        if trains_further(options):
            train_further(name, options["num_steps"])

    agents, seed = options.get("num_agents"), options.get("seed")
    loaded = "deserialize" in options
    view = settings_of(options, "world.num_perceived") if loaded else []
    if "benchmark" in options:
        from marl.runs.run import Run

        file = Run(stats).stats / "evaluation.json"
        evaluate(name, agents and [agents], None, seed, file, view)
        print(file)
    if "render" in options or "gif" in options:
        fps = 1 / options["sleep"] if options.get("sleep") else None
        window, gif = "render" in options, options.get("gif")
        steps = options.get("num_steps") if loaded else None
        render(name, agents, steps, seed or 0, gif, window, view, fps)
    elif loaded and "benchmark" not in options and not trains_further(options):
        evaluate(name, agents and [agents], None, seed, None, view)


def trains_further(options: dict) -> bool:
    """Whether --num-steps is about training and not about what is shown."""
    return "num_steps" in options and not {"render", "gif"} & options.keys()


def check_effects(options: dict) -> None:
    """Raise UserError for a flag that has no effect beside the others."""
    idle = {"sleep"} - ({"sleep"} if "render" in options or "gif" in options else set())
    if "deserialize" in options:
        idle |= {"type", "config", "num_landmarks", "exploration"}
        idle |= set() if options.get("epsilon") == ORIGINAL else {"epsilon"}
        idle |= set() if "benchmark" in options else {"name"}
        if trains_further(options) and "benchmark" not in options:
            idle |= {"seed", "num_agents", "num_perceived_agents", "num_perceived_landmarks"}
    for flag in options:
        if flag in idle:
            beside = "without --render or --gif" if flag == "sleep" else "beside --deserialize"
            typed = flag if flag.startswith("num_perceived") else flag.replace("_", "-")
            raise UserError(f"--{typed} has no effect {beside}")


def settings_of(options: dict, prefix: str = "") -> list[str]:
    """The settings of a config for the typed flags, those whose key begins with `prefix`."""
    pairs = [(key, options[flag]) for flag, key in SETTINGS if flag in options]
    return [f"{key}={json.dumps(value)}" for key, value in pairs if key.startswith(prefix)]


def train_new(options: dict) -> str:
    """Train a new run; its name."""
    kind = options.get("type")
    settings = settings_of(options)
    if "exploration" in options:
        settings.append(f"exploration.kind={options['exploration']}")
    if options.get("epsilon", ORIGINAL) != ORIGINAL:
        settings += [f"exploration.{key}={options['epsilon']}" for key in ("scale", "final_scale")]
        settings.append("exploration.schedule=linear")
    if "num_steps" in options:
        settings.append(f"training.steps={options['num_steps']}")
    config = options.get("config", (kind or "atoc").lower())
    if kind and "config" in options:
        settings += TYPES[kind]
    return train(config, options.get("name"), options.get("seed"), settings)


def train_further(file: str, steps: int) -> None:
    """Train the run of a weights file so many steps more. Raises UserError if it is of no run."""
    from marl.runs.run import Run, run_state

    name = Path(file).resolve().parent.name
    if Path(file).resolve() != Run(name).weights.resolve():
        raise UserError(
            f"--num-steps would train the run of {file} further, but that is no run in "
            f"{data_root()}: to see so many steps of it, add --render or --gif"
        )
    resume(name, [f"training.steps={run_state(name).step + steps}"])


ORIGINAL = -1.0  # of --epsilon: leave the schedule alone

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
    "IQL": ["agent.name=iql", "world.actions=discrete", "exploration.kind=epsilon"],
    "VDN": ["agent.name=vdn", "world.actions=discrete", "exploration.kind=epsilon"],
    "QMIX": ["agent.name=qmix", "world.actions=discrete", "exploration.kind=epsilon"],
    "ISAC": ["agent.name=isac", "exploration.kind=null"],
    "MASAC": ["agent.name=masac", "exploration.kind=null"],
    "IPPO": ["agent.name=ippo", "exploration.kind=null"],
    "MAPPO": ["agent.name=mappo", "exploration.kind=null"],
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
    add(
        "--num-steps",
        type=whole(1),
        metavar="T",
        help="of training, or of what --render and --gif show of a file",
    )
    add("--deserialize", metavar="FILE", help="load these weights")
    add(
        "--exploration", choices=["ou", "gaussian", "psne", "epsilon"], help="default: the config's"
    )
    add(
        "--epsilon",
        type=float,
        metavar="E",
        help="exploration scale; -1, the default: the config's schedule",
    )
    add("--benchmark", action="store_true", help="collect and store evaluation statistics")
    add("--render", action="store_true", help="open a live window")
    add("--sleep", type=float, metavar="SECONDS", help="between two frames of the window")
    add("--gif", type=Path, metavar="FILE", help="write a movie")
    return vars(parser.parse_args())


if __name__ == "__main__":
    run_command(main)
