"""Commands about files: export-stats, clean, list, schema."""

import sys
from collections.abc import Sequence
from pathlib import Path

from marl.cli.parser import Add
from marl.errors import UserError


def add_commands(add: Add) -> None:
    """Add them with their flags."""
    command = add("export-stats", export_stats, "write the logs of runs as one table")
    command.add_argument("names", metavar="RUN_OR_SWEEP", nargs="+", help="see `marl list`")
    command.add_argument(
        "--out", type=Path, metavar="FILE.csv|.parquet", required=True, help="file to write"
    )

    command = add("clean", clean, "remove what nobody needs, after saying what that is")
    command.add_argument("--yes", action="store_true", help="remove without asking")

    add("list", show_list, "show agents, scenarios, policies, configs and runs")
    add("schema", show_schema, "print the JSON schema of configs, for editors")


def export_stats(names: Sequence[str], out: Path) -> None:
    """Write the logs of runs as one table."""
    from marl.runs.files import check_writable
    from marl.studies.log_table import export, statistics

    check_writable(out)
    rows, problems = statistics(names)
    for problem in problems:
        print(problem, file=sys.stderr)
    export(rows, out)
    print(f"{out}: {len(rows)} rows")


def clean(yes: bool) -> None:
    """List removable files, ask, remove."""
    from marl.runs.cleanup import leftovers, remove

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
    """Show the names for configs and commands."""
    from marl.agents import REGISTRY, agent_names
    from marl.config.parsing import config_names
    from marl.policies.builtin import BUILTIN
    from marl.runs.paths import run_names
    from marl.worlds.registry import scenario_names

    for title, names in (
        (
            "agents",
            [f"{x:<10} {REGISTRY[x].about}" if x in REGISTRY else x for x in agent_names()],
        ),
        ("scenarios", [*scenario_names()]),
        ("policies", [*BUILTIN]),
        ("configs", config_names()),
        ("runs", [f"{name}   {_described(name)}" for name in run_names()]),
    ):
        print(title)
        print("".join(f"  {name}\n" for name in names or ["none yet"]), end="")


def show_schema() -> None:
    """Print the JSON schema of configs."""
    import json

    from marl.config.schema import config_schema

    print(json.dumps(config_schema(), indent=2))


def _described(name: str) -> str:
    """A few words on a run, or why a folder is none."""
    try:
        return describe_run(name)
    except UserError as error:
        return f"skipped: {error}"


def describe_run(name: str) -> str:
    """A few words on a run: state, steps, seed, first metric when last evaluated, age."""
    from marl.evaluation import primary_metric
    from marl.runs.checkpoint import read_header
    from marl.runs.paths import find_weights
    from marl.runs.run import run_state

    state = run_state(name)
    if state.state == "new":  # it came with the package
        config, step, _ = read_header(find_weights(name))
        training = config.training
        return f"shipped   step {step} of {training.steps}   seed {training.seed}"
    if state.config is None:
        return f"{state.state}: {state.problem}"
    training = state.config.training
    words = [state.state, f"step {state.step} of {training.steps}", f"seed {training.seed}"]
    if state.evaluation and (first := primary_metric(state.evaluation)):
        words.append(f"{first} {state.evaluation[first]:.3f}")
    words.append(f"{_duration(state.age)} ago")
    return "   ".join([*words, *([state.problem] if state.problem else [])])


def _duration(seconds: float) -> str:
    """In the largest unit of which there is at least one."""
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
