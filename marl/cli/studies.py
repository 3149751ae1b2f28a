"""Commands about many runs: sweep, compare, scale, crossplay."""

import sys
from collections.abc import Sequence
from pathlib import Path

from marl.cli.parser import WORLD_SETTINGS, Add, add_settings, add_workers, whole
from marl.errors import RunsFailed


def add_sweep(add: Add) -> None:
    """Add `sweep` with its flags."""
    command = add("sweep", sweep, "train many runs: configs times settings times seeds")
    command.add_argument("file", metavar="SWEEP.json", type=Path, help="see docs/experiments.md")
    command.add_argument("--name", help="name of the sweep; default: the file's name")
    add_workers(command, "runs")
    command.add_argument(
        "--ray", nargs="?", const="", metavar="ADDRESS",
        help="train on the Ray cluster at HOST:PORT; without ADDRESS, on the cluster in the "
        "variable RAY_ADDRESS, or on a Ray started here",
    )  # fmt: skip


def add_compare(add: Add) -> None:
    """Add `compare` with its flags."""
    command = add("compare", compare, "compare runs: intervals, tests, curves, one page")
    command.add_argument("names", metavar="RUN_OR_SWEEP", nargs="+", help="see `marl list`")
    command.add_argument("--metric", help="metric to compare; default: the world's first one")
    command.add_argument(
        "--by", nargs="+", default=[], metavar="KEY",
        help="settings that runs of one group share; default: all but the seed (base: the config's "
        "name in a sweep)",
    )  # fmt: skip
    command.add_argument(
        "--agents", type=whole(1), nargs="+", default=[], metavar="N",
        help="numbers of agents; default: the number in training",
    )  # fmt: skip
    add_workers(command, "measurements")
    command.add_argument(
        "--out", type=Path, metavar="DIR", help="folder; default: data/comparisons/NAMES"
    )


def add_scale(add: Add) -> None:
    """Add `scale` with its flags."""
    command = add(
        "scale", scale, "measure policies with more and more agents, and the built-in ones, too"
    )
    command.add_argument(
        "names", metavar="RUN", nargs="+",
        help="a run (runs that differ only in their seed are one policy), a sweep, a .safetensors "
        "file or a built-in policy",
    )  # fmt: skip
    command.add_argument(
        "--agents", type=whole(1), nargs="+", metavar="N",
        help="numbers of agents; default: 4 8 12 20 40 80 200 1000 10000, and that in training; in "
        "other worlds than those of particles 1, 2, 4 and 8 times that in training (slow: up to 4)",
    )  # fmt: skip
    command.add_argument(
        "--episodes", type=whole(1), metavar="E",
        help="episodes for each number of agents; default: 20 000 agents' worth, at most 2000: 20 "
        "for 1000 agents, 2 for 10 000, 1 beyond; in slow worlds 20",
    )  # fmt: skip
    command.add_argument("--seed", type=whole(0), metavar="S", help="seed of the episodes")
    add_workers(command, "measurements")
    command.add_argument("--json", type=Path, metavar="FILE", help="JSON file for the numbers")
    command.add_argument(
        "--out", type=Path, metavar="DIR", help="folder; default: data/scales/NAMES"
    )
    add_settings(command, WORLD_SETTINGS)


def add_crossplay(add: Add) -> None:
    """Add `crossplay` with its flags."""
    command = add(
        "crossplay", crossplay, "let the sides of runs play against each other, in all pairings"
    )
    command.add_argument("names", metavar="RUN_OR_SWEEP", nargs="+", help="see `marl list`")
    command.add_argument(
        "--episodes", type=whole(1), metavar="E", help="episodes of each pair of runs; default: 200"
    )
    command.add_argument("--seed", type=whole(0), metavar="S", help="seed of the episodes")
    add_workers(command, "pairs")
    command.add_argument("--json", type=Path, metavar="FILE", help="JSON file for the numbers")


def sweep(file: Path, name: str | None, workers: int | None, ray: str | None) -> None:
    """Train the unfinished runs of a sweep, here or on a Ray cluster."""
    import os
    from contextlib import ExitStack

    from marl.sweeps.progress import SweepDisplay
    from marl.sweeps.runner import Runner, run_sweep
    from marl.sweeps.sweep import load_sweep

    sweep = load_sweep(file, name)
    with ExitStack() as stack:
        runner: Runner | None = None
        if ray is not None:
            from marl.sweeps.ray_runner import joined

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
    """Measure runs alike and write the comparison."""
    import os

    from marl.folders import data_root
    from marl.runs.files import check_writable
    from marl.studies import comparison
    from marl.studies.comparison_page import Comparison
    from marl.studies.entries import default_metric, gather
    from marl.studies.tables import print_rows

    title = _title(names)
    folder = out or data_root() / "comparisons" / title
    check_writable(folder / "comparison.html")
    entries, left_out = gather(names, by)
    for what in comparison.measure(entries, agents, workers or os.cpu_count() or 1):
        print(what, file=sys.stderr, flush=True)
    page = Comparison(title, entries, metric or default_metric(entries), left_out)
    for n in page.numbers:
        print_rows(f"{n} agents", *page.scores(n))
        if len(entries) > 1:
            print_rows("", *page.improvements(n))
    print(page.write(folder))


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
    """Measure policies with more and more agents, and write the study."""
    import os

    from marl.folders import data_root
    from marl.runs.files import check_writable, write_json
    from marl.studies import scale
    from marl.studies.entries import default_metric
    from marl.studies.measurements import as_file_name
    from marl.studies.scale_page import ScaleStudy
    from marl.studies.tables import print_rows

    title = _title([as_file_name(name) for name in names])
    folder = out or data_root() / "scales" / title
    for path in (folder / "scale.md", *([] if json is None else [json])):
        check_writable(path)
    entries, left_out = scale.with_yardsticks(names, settings)
    numbers = sorted({*agents}) if agents else scale.numbers(entries)
    seed = scale.default_seed(entries) if seed is None else seed
    cores = workers or os.cpu_count() or 1
    for what in scale.measure(entries, numbers, episodes, seed, cores, settings):
        print(what, file=sys.stderr, flush=True)
    study = ScaleStudy(title, entries, default_metric(entries), left_out)
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


def crossplay(
    names: Sequence[str],
    episodes: int | None,
    seed: int | None,
    workers: int | None,
    json: Path | None,
) -> None:
    """Let all pairings play and print a matrix for each metric."""
    import os

    from marl.runs.files import check_writable, write_json
    from marl.studies.crossplay import Crossplay
    from marl.studies.tables import print_rows

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


def _title(names: Sequence[str]) -> str:
    """The name of a folder of results on these."""
    return "-".join(names) if len(names) < 4 else f"{names[0]}-and-{len(names) - 1}-more"
