r"""Watch the trained tennis players, or train others.

    python experiments/run_tennis.py -m SADDPG -t 2000
    python experiments/run_tennis.py -m MADDPG_PSNE -t 300 --gif rally.gif
    python experiments/run_tennis.py -m MADDPG --train

Plays rallies for -t steps, and prints the score of each and the average. With --train, it first
trains a new run of data/json/tennis_MODEL.json, which then plays.
"""

import argparse
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from marl import evaluation
from marl.cli.parser import Parser, whole
from marl.cli.train import train
from marl.errors import UserError, run_command
from marl.rendering import movies
from marl.rendering.frames import draw
from marl.rendering.window import NoDisplayError, play
from marl.rollout import collect
from marl.runs.loading import find_policy
from marl.worlds.base import World
from marl.worlds.scene import Scene

MODELS = ("SADDPG", "MADDPG", "MADDPG_PSNE")
FPS = 20.0  # twice as fast as it is


def main() -> None:
    """Train or load a run, play, and print the scores."""
    options = parse()
    name = f"tennis_{options.model.lower()}"
    if options.train:
        name = train(name, None, options.seed, [])
    scores: list[float] = []
    rally = rallies(name, options.steps, options.seed or 0, scores)
    if options.render:
        try:
            play(pictures(rally), name, FPS)
        except NoDisplayError as error:
            raise UserError(str(error)) from error
    elif options.gif:
        try:
            movies.save(map(draw, pictures(rally)), options.gif, FPS)
        except OSError as error:
            raise UserError(f"cannot write {options.gif}: {error.strerror or error}") from error
        except ValueError as error:
            raise UserError(str(error)) from error
        print(options.gif)
    deque(rally, 0)  # what is left of it
    if scores:
        print(f"average of {len(scores)} episodes: {sum(scores) / len(scores):.3f}")
    else:
        print("no episode has ended; more steps (-t) would let one")


def rallies(name: str, steps: int, seed: int, scores: list[float]) -> Iterator[World]:
    """Yield the court after each step. Print the score of each finished episode and add it to
    `scores`."""
    subject = find_policy(name)
    world = subject.world.make_world(1, seed)
    turns = collect(world, subject.policy(world, seed))
    with evaluation.one_thread():
        for _ in range(steps):
            step = next(turns).step
            if step.done[0]:
                scores.append(float(step.metrics["score"][0]))
                print(f"episode {len(scores)}: {scores[-1]:.2f}")
            yield world


def pictures(worlds: Iterator[World]) -> Iterator[Scene]:
    """Pictures of the court, one for each step."""
    return (world.scene() for world in worlds)


def parse() -> argparse.Namespace:
    """The typed flags."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("-m", "--model", choices=MODELS, default="SADDPG", help="default: SADDPG")
    add("-t", "--steps", type=whole(1), default=1000, metavar="STEPS", help="default: 1000")
    add("--seed", type=whole(0), help="of the serves, and of the training; default: 0")
    add("--train", action="store_true", help="train a new run first")
    show = parser.add_mutually_exclusive_group()
    show.add_argument("--gif", type=Path, metavar="FILE", help="write a movie of it (.gif or .mp4)")
    show.add_argument("--render", action="store_true", help="open a live window")
    return parser.parse_args()


if __name__ == "__main__":
    run_command(main)
