"""The `marl` command.

What needs torch or numba is imported inside the commands, so that `marl --help` answers at once.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from marl.errors import RunsFailed, UserError, WorldFailed

INTERRUPTED = 130  # exit status, as shells have it: 128 + SIGINT


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line and no abbreviated flags."""

    def __init__(self, **options) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"marl: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit: 0 done, 1 some runs of a sweep or a world of somebody else's
    failed, 2 bad input, 130 interrupted."""
    run_command(lambda: _run(arguments))


def run_command(command) -> NoReturn:
    """Call it and exit as every command does: errors that are the user's in one line on stderr."""
    status = 2
    try:
        command()
        sys.stdout.flush()
        status = 0
    except UserError as error:
        _complain(str(error))
    except (RunsFailed, WorldFailed) as error:
        _complain(str(error))
        status = 1
    except KeyboardInterrupt as stop:
        print(str(stop) or "Interrupted", file=sys.stderr)
        status = INTERRUPTED
    except BrokenPipeError:
        sys.stdout = None  # the reader has gone: nothing is left to flush
        status = 0
    except OSError as error:
        _complain(
            f"cannot use {error.filename}: {error.strerror}" if error.filename else str(error)
        )
    except MemoryError:
        _complain("there is not enough memory for this")
    sys.exit(status)


def _complain(message: str) -> None:
    print("marl:", " ".join(message.split()), file=sys.stderr)


def _run(arguments: Sequence[str] | None) -> None:
    options = vars(make_parser().parse_args(arguments))
    options.pop("command")(**options)


def make_parser() -> Parser:
    """Every command with its flags."""
    parser = Parser(
        prog="marl",
        description="Train policies on a handful of agents and run them, unchanged, on thousands.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, function, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(command=function)
        return command

    policy = "a run, a .safetensors file or a built-in policy (see `marl list`)"
    world_settings = (
        "replace a parameter of the world, as world.num_perceived_agents=5, or of the agent, as "
        "agent.rounds=3"
    )

    command = add("train", train, "train a new run")
    command.add_argument("config", metavar="CONFIG.json", help="a file, or a name from `marl list`")
    command.add_argument(
        "--name", help="of the run; otherwise the config's, with a number if taken"
    )
    command.add_argument("--seed", type=whole(0), help="instead of training.seed")
    _add_settings(command, "replace a setting, as world.num_agents=6")

    command = add("resume", resume, "continue a stopped or killed run with the config stored in it")
    command.add_argument("name", metavar="NAME", help="of the run")
    _add_settings(command, "change a setting on the way, as training.steps=4000000")

    command = add("sweep", sweep, "train many runs: configs times settings times seeds")
    command.add_argument("file", metavar="SWEEP.json", type=Path, help="see docs/experiments.md")
    command.add_argument("--name", help="of the sweep; otherwise the file's")
    command.add_argument(
        "--workers", type=whole(1), metavar="W", help="runs at once; else one a core"
    )
    command.add_argument(
        "--ray", nargs="?", const="", metavar="ADDRESS",
        help="train on the Ray cluster at HOST:PORT; without ADDRESS on that of the variable "
        "RAY_ADDRESS, else on a Ray started here",
    )  # fmt: skip

    command = add("compare", compare, "set runs side by side: intervals, tests, curves, one page")
    command.add_argument("names", metavar="RUN_OR_SWEEP", nargs="+", help="see `marl list`")
    command.add_argument("--metric", help="what counts; otherwise the world's first metric")
    command.add_argument(
        "--by", nargs="+", default=[], metavar="KEY",
        help="runs that agree in these settings belong together; otherwise in all but the seed "
        "(base: what a sweep calls its configs)",
    )  # fmt: skip
    command.add_argument(
        "--agents", type=whole(1), nargs="+", default=[], metavar="N",
        help="numbers of agents to measure with; otherwise as trained",
    )  # fmt: skip
    command.add_argument(
        "--workers", type=whole(1), metavar="W", help="measurements at once; else one a core"
    )
    command.add_argument("--out", type=Path, metavar="DIR", help="otherwise data/comparisons/NAMES")

    command = add("evaluate", evaluate, "measure a policy on any number of agents")
    command.add_argument("name", metavar="RUN_OR_FILE_OR_POLICY", help=policy)
    command.add_argument(
        "--agents", type=whole(1), nargs="+", metavar="N", help="numbers of agents"
    )
    command.add_argument("--episodes", type=whole(1), metavar="E", help="for each number of agents")
    command.add_argument("--seed", type=whole(0), metavar="S", help="of the episodes")
    command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here too")
    _add_settings(command, world_settings)

    command = add(
        "scale", scale, "measure policies with more and more agents, beside the built-in ones"
    )
    command.add_argument(
        "names", metavar="RUN", nargs="+",
        help="a run (those that differ in their seed only are one policy), a sweep, a .safetensors "
        "file or a built-in policy",
    )  # fmt: skip
    command.add_argument(
        "--agents", type=whole(1), nargs="+", metavar="N",
        help="numbers of agents; otherwise 4 8 12 20 40 80 200 1000 10000, and as trained",
    )  # fmt: skip
    command.add_argument(
        "--episodes", type=whole(1), metavar="E",
        help="for each number of agents; otherwise 20 000 agents' worth, at most 2000: 20 for "
        "1000 agents, 2 for 10 000, 1 beyond",
    )  # fmt: skip
    command.add_argument("--seed", type=whole(0), metavar="S", help="of the episodes")
    command.add_argument(
        "--workers", type=whole(1), metavar="W", help="measurements at once; else one a core"
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here too")
    command.add_argument("--out", type=Path, metavar="DIR", help="otherwise data/scales/NAMES")
    _add_settings(command, world_settings)

    command = add(
        "crossplay", crossplay, "let the sides of runs play against each other, in every pairing"
    )
    command.add_argument("names", metavar="RUN_OR_SWEEP", nargs="+", help="see `marl list`")
    command.add_argument(
        "--episodes", type=whole(1), metavar="E", help="of each pair of runs; otherwise 200"
    )
    command.add_argument("--seed", type=whole(0), metavar="S", help="of the episodes")
    command.add_argument(
        "--workers", type=whole(1), metavar="W", help="pairs at once; else one a core"
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here too")

    command = add("render", render, "watch a policy: a GIF, MP4, PNG or a live window")
    command.add_argument("name", metavar="RUN_OR_FILE_OR_POLICY", help=policy)
    command.add_argument("--agents", type=whole(1), metavar="N", help="how many; else as trained")
    command.add_argument("--steps", type=whole(1), metavar="T", help="otherwise one episode")
    command.add_argument("--seed", type=whole(0), default=0, metavar="S", help="of the episode")
    command.add_argument("--out", type=Path, metavar="FILE.gif|.mp4|.png", help="what to write")
    command.add_argument("--trails", action="store_true", help="show where things have been")
    command.add_argument("--window", action="store_true", help="open a live window")
    command.add_argument(
        "--play", metavar="AGENT",
        help="play this agent (as agent_0) with the arrow keys, in the window, until it is closed",
    )  # fmt: skip
    _add_settings(command, world_settings)

    command = add("export-stats", export_stats, "write the logs of runs as one table")
    command.add_argument("names", metavar="RUN_OR_SWEEP", nargs="+", help="see `marl list`")
    command.add_argument(
        "--out", type=Path, metavar="FILE.csv|.parquet", required=True, help="what to write"
    )

    command = add("clean", clean, "remove what nobody needs, after saying what that is")
    command.add_argument("--yes", action="store_true", help="do not ask")

    add("list", show_list, "show agents, scenarios, policies, configs and runs")

    command = add(
        "demo", demo, "train on 4 agents, then run on 4, 12, 80 and 1000: a table and GIFs"
    )
    _add_settings(command, "replace a setting of spread.json, as training.steps=500000")
    return parser


def _add_settings(command: argparse.ArgumentParser, text: str) -> None:
    command.add_argument(
        "--set", dest="settings", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
        help=text,
    )  # fmt: skip


def whole(least: int):
    """An argument type: whole numbers from `least` to 2**63 - 1."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value < 2**63:
            raise argparse.ArgumentTypeError(f"{text!r} should be a whole number, {least} or more")
        return value

    return parse


# ---------------------------------------------------------------------------------------- commands


def train(config: str, name: str | None, seed: int | None, settings: Sequence[str]) -> str:
    """Train a new run; its name is returned."""
    from marl import training
    from marl.config import load_config
    from marl.runs import find_config

    path = find_config(config)
    if seed is not None:
        settings = [*settings, f"training.seed={seed}"]
    name = training.train(load_config(path, settings), name, path.stem)
    print(f"Done: see it with `marl render {name}`, measure it with `marl evaluate {name}`")
    return name


def resume(name: str, settings: Sequence[str]) -> None:
    """Continue a run."""
    from marl import training

    training.resume(name, settings)
    print(f"Done: see it with `marl render {name}`, measure it with `marl evaluate {name}`")


def sweep(file: Path, name: str | None, workers: int | None, ray: str | None) -> None:
    """Train what is not finished of a sweep, here or on a Ray cluster."""
    import os
    from contextlib import ExitStack

    from marl.progress import SweepDisplay
    from marl.sweeps import Runner, load_sweep, run_sweep

    sweep = load_sweep(file, name)
    with ExitStack() as stack:
        runner: Runner | None = None
        if ray is not None:
            from marl.ray_runner import joined

            runner, cpus = stack.enter_context(joined(ray, workers, sweep.folder))
        else:
            cpus = os.cpu_count() or 1
        display = stack.enter_context(SweepDisplay(sweep))
        for states in run_sweep(sweep, workers or cpus, runner):
            display.look(states)
    if sweep.failures:
        raise RunsFailed(
            f"{len(sweep.failures)} of {len(sweep.jobs)} runs failed; the same command tries them "
            "again"
        )


def compare(
    names: Sequence[str],
    metric: str | None,
    by: Sequence[str],
    agents: Sequence[int],
    workers: int | None,
    out: Path | None,
) -> None:
    """Measure runs alike and write what they say."""
    import os

    from marl import comparison
    from marl.pages import Comparison
    from marl.reports import print_rows
    from marl.runs import check_writable, data_root

    title = _title(names)
    folder = out or data_root() / "comparisons" / title
    check_writable(folder / "comparison.html")
    groups, left_out = comparison.gather(names, by)
    for what in comparison.measure(groups, agents, workers or os.cpu_count() or 1):
        print(f"measured {what}", file=sys.stderr)
    page = Comparison(title, groups, metric or comparison.default_metric(groups), left_out)
    for n in page.numbers:
        print_rows(f"{n} agents", *page.scores(n))
        if len(groups) > 1:
            print_rows("", *page.improvements(n))
    print(page.write(folder))


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
    from marl.reports import print_table
    from marl.runs import check_writable, write_json

    if json is not None:
        check_writable(json)
    subject = evaluation.subject(name, settings)
    defaults = subject.config.evaluation
    worlds = {number: subject.world_for(number) for number in agents or subject.agents}
    results = [
        evaluation.evaluate(
            subject.policy,
            world,
            number,
            episodes or defaults.episodes,
            defaults.seed if seed is None else seed,
        )
        for number, world in worlds.items()
    ]
    print_table([(subject.name, result) for result in results])
    if json is not None:
        write_json(json, results)


def scale(
    names: Sequence[str],
    agents: Sequence[int] | None,
    episodes: int | None,
    seed: int | None,
    workers: int | None,
    json: Path | None,
    out: Path | None,
    settings: Sequence[str],
) -> None:
    """Measure policies with more and more agents, and write what that says."""
    import os

    from marl import scale
    from marl.reports import print_rows
    from marl.runs import check_writable, data_root, write_json
    from marl.scale_pages import ScaleStudy

    title = _title([scale.as_file_name(name) for name in names])
    folder = out or data_root() / "scales" / title
    for path in (folder / "rows" / "x", *([] if json is None else [json])):
        check_writable(path)
    entries, left_out = scale.gather(names, settings)
    numbers = sorted({*agents}) if agents else scale.numbers(entries)
    seed = scale.default_seed(entries) if seed is None else seed
    cores = workers or os.cpu_count() or 1
    for what in scale.measure(entries, numbers, episodes, seed, folder, cores, settings):
        print(what, file=sys.stderr, flush=True)
    study = ScaleStudy(title, entries, scale.default_metric(entries), left_out)
    if json is not None:
        write_json(json, scale.objects(entries))
    for n in study.numbers:
        print_rows(f"{n} agents", *study.scores(n))
    for heading, (columns, rows) in study.costs().items():
        print(f"\n{heading}")
        print_rows("", columns, rows)
    for note in study.notes[1:]:
        print(note)
    for path in study.write(folder):
        print(path, flush=True)


def _title(names: Sequence[str]) -> str:
    """What a folder of results on these is called."""
    return "-".join(names) if len(names) < 4 else f"{names[0]}-and-{len(names) - 1}-more"


def crossplay(
    names: Sequence[str],
    episodes: int | None,
    seed: int | None,
    workers: int | None,
    json: Path | None,
) -> None:
    """Let all pairings play and print a matrix for each metric."""
    import os

    from marl.crossplay import Crossplay
    from marl.reports import print_rows
    from marl.runs import check_writable, write_json

    if json is not None:
        check_writable(json)
    played = Crossplay(names, episodes, seed)
    for sentence in played.left_out:
        print(sentence, file=sys.stderr)
    for what in played.play(workers or os.cpu_count() or 1):
        print(what, file=sys.stderr)
    for metric in played.metrics:
        headings, rows = played.table(metric)
        print_rows(f"{metric.replace('_', ' ')}: {headings[0]}", headings, rows)
    if json is not None:
        write_json(json, played.objects())


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
    from marl.config import parse_scenario
    from marl.driving import REAL_TIME, Hands
    from marl.rendering import movies
    from marl.rendering.frames import draw
    from marl.rendering.trails import trailed
    from marl.rendering.window import NoDisplayError
    from marl.rendering.window import play as show

    if play is not None and not window:
        raise UserError("--play needs --window, in which the keys are heard")
    subject = evaluation.subject(name, settings)
    number = agents or parse_scenario(subject.world, "world").agent_count
    hands = None
    if play is not None:
        hands, steps, fps = Hands(), steps or sys.maxsize, fps or REAL_TIME
    played = {} if hands is None or play is None else {play: hands}
    scenes = evaluation.scenes(subject, number, steps, seed, played)
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


def export_stats(names: Sequence[str], out: Path) -> None:
    """Write the logs of runs as one table."""
    from marl.housekeeping import export, statistics
    from marl.runs import check_writable

    check_writable(out)
    rows = statistics(names)
    export(rows, out)
    print(f"{out}: {len(rows)} rows")


def clean(yes: bool) -> None:
    """Say what can be removed, ask, remove."""
    from marl.housekeeping import leftovers, remove

    found = leftovers()
    for leftover in found:
        print(f"{leftover.size / 1e6:9.1f} MB  {leftover.path}  ({leftover.reason})")
    if not found:
        print("There is nothing to remove.")
        return
    total = sum(leftover.size for leftover in found) / 1e6
    if not yes:
        if not sys.stdin.isatty():
            print(f"{total:9.1f} MB in all. Nothing is removed without --yes.")
            return
        if input(f"{total:9.1f} MB in all. Remove? [y/N] ").strip().lower() not in ("y", "yes"):
            print("Nothing is removed.")
            return
    for leftover in found:
        remove(leftover)
    print(f"{total:9.1f} MB removed.")


def show_list() -> None:
    """Show what can be named in configs and commands."""
    from marl.agents import agent_names
    from marl.policies import BUILTIN
    from marl.reports import describe_run
    from marl.runs import config_names, run_names
    from marl.worlds.registry import scenario_names

    for title, names in (
        ("agents", [*agent_names()]),
        ("scenarios", [*scenario_names()]),
        ("policies", [*BUILTIN]),
        ("configs", config_names()),
        ("runs", [f"{name}   {describe_run(name)}" for name in run_names()]),
    ):
        print(title)
        print("".join(f"  {name}\n" for name in names or ["none yet"]), end="")


def demo(settings: Sequence[str]) -> None:
    """The whole story in one command."""
    from marl import training
    from marl.config import load_config
    from marl.demo import show
    from marl.runs import find_config

    config = load_config(find_config("spread"), settings)
    show(training.train(config, None, "demo"))


if __name__ == "__main__":
    main()
