"""Commands that let a policy play: evaluate, render."""

import sys
from collections.abc import Sequence
from pathlib import Path

from marl.cli.parser import POLICY, WORLD_SETTINGS, Add, add_settings, whole
from marl.errors import UserError


def add_evaluate(add: Add) -> None:
    """Add `evaluate` with its flags."""
    command = add("evaluate", evaluate, "measure a policy with any number of agents")
    command.add_argument("name", metavar="RUN_OR_FILE_OR_POLICY", help=POLICY)
    command.add_argument(
        "--agents", type=whole(1), nargs="+", metavar="N", help="numbers of agents"
    )
    command.add_argument("--episodes", type=whole(1), metavar="E", help="episodes for each N")
    command.add_argument("--seed", type=whole(0), metavar="S", help="seed of the episodes")
    command.add_argument("--json", type=Path, metavar="FILE", help="JSON file for the numbers")
    add_settings(command, WORLD_SETTINGS)


def add_render(add: Add) -> None:
    """Add `render` with its flags."""
    command = add("render", render, "render a policy: a GIF, MP4, PNG or a live window")
    command.add_argument("name", metavar="RUN_OR_FILE_OR_POLICY", help=POLICY)
    command.add_argument("--agents", type=whole(1), metavar="N", help="default: as in training")
    command.add_argument("--steps", type=whole(1), metavar="T", help="default: one episode")
    command.add_argument(
        "--seed", type=whole(0), default=0, metavar="S", help="seed of the episode"
    )
    command.add_argument("--out", type=Path, metavar="FILE.gif|.mp4|.png", help="file to write")
    command.add_argument("--trails", action="store_true", help="draw trails of moving discs")
    command.add_argument("--window", action="store_true", help="open a live window")
    command.add_argument(
        "--play", metavar="AGENT",
        help="play this agent (such as agent_0) with the arrow keys, until the window is closed",
    )  # fmt: skip
    add_settings(command, WORLD_SETTINGS)


def evaluate(
    name: str,
    agents: Sequence[int] | None,
    episodes: int | None,
    seed: int | None,
    json: Path | None,
    settings: Sequence[str],
) -> None:
    """Measure a policy, print a table and, if asked, write the numbers."""
    from marl import evaluation
    from marl.runs.files import check_writable, write_json
    from marl.runs.loading import find_policy
    from marl.studies.tables import print_table

    if json is not None:
        check_writable(json)
    subject = find_policy(name, settings)
    defaults = subject.config.evaluation
    worlds = {number: subject.world_for(number) for number in agents or subject.agents}
    results = [
        evaluation.evaluate(
            subject.policy,
            world,
            number,
            episodes or defaults.episodes,
            defaults.seed if seed is None else seed,
            max_steps=defaults.max_steps,
        )
        for number, world in worlds.items()
    ]
    print_table([(subject.name, result) for result in results])
    for sentence in evaluation.cut_off(results):
        print(sentence)
    if json is not None:
        write_json(json, results)
    for result in results:
        evaluation.check_finite(subject.name, result)


def render(
    name: str,
    agents: int | None,
    steps: int | None,
    seed: int,
    out: Path | None,
    window: bool,
    settings: Sequence[str],
    fps: float | None = None,
    trails: bool = False,
    play: str | None = None,
) -> None:
    """Write a movie or a picture, or open a window."""
    from collections import deque

    from marl import evaluation
    from marl.policies.human import REAL_TIME, Keyboard
    from marl.rendering import movies
    from marl.rendering.frames import draw
    from marl.rendering.trails import trailed
    from marl.rendering.window import NoDisplayError
    from marl.rendering.window import play as show
    from marl.runs.loading import find_policy

    if play is not None and not window:
        raise UserError("--play needs --window, in which the keys are heard")
    subject = find_policy(name, settings)
    number = agents or subject.world.agent_count
    hands = None
    if play is not None:
        hands, steps, fps = Keyboard(), steps or sys.maxsize, fps or REAL_TIME
    played = {} if hands is None or play is None else {play: hands}
    world = subject.world_for(number)
    limit = subject.config.evaluation.max_steps
    scenes = evaluation.scenes(subject.policy, world, steps, seed, played, limit)
    scenes = trailed(scenes) if trails else scenes
    fps = fps or movies.FPS
    if window:
        try:
            show(scenes, f"{subject.name}: {number} agents", fps, hands)
        except NoDisplayError as error:
            raise UserError(str(error)) from error
    if out is not None or not window:
        path = out or Path(f"{subject.name}-{number}.gif")
        try:
            kept = deque(scenes, maxlen=1) if path.suffix.lower() == ".png" else scenes
            movies.save(map(draw, kept), path, fps)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror or error}") from error
        except UserError:
            raise
        except ValueError as error:
            raise UserError(str(error)) from error
        print(path)
