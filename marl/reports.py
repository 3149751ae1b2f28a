"""Tables and plots of what a run or an evaluation gave."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from marl.errors import UserError
from marl.evaluation import headline
from marl.runs import Run, find_weights, read_header, read_log, run_state, whole_file

HEADINGS = {"coverage_015": "at 0.15", "mean_distance": "distance"}  # where not as in a result
LIMITS = {"coverage": (0.0, 1.02), "collisions": (0.0, None)}


def print_table(rows: Sequence[tuple[str, dict[str, Any]]], console: Console | None = None) -> None:
    """Print evaluations, (policy, result of `evaluate`) each, one line each; the first metric with
    half the width of its 95 % confidence interval."""
    names = list(dict.fromkeys(name for _, result in rows for name in _measured(result)))
    table = Table("policy", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("agents", "episodes", *(HEADINGS.get(name, name) for name in names)):
        table.add_column(heading, justify="right", no_wrap=True)
    for policy, result in rows:
        cells = [_cell(result.get(name)) for name in names]
        first = headline(result)
        if first and (interval := result[f"{first}_ci95"]):
            cells[names.index(first)] += f" ±{(interval[1] - interval[0]) / 2:.3f}"
        table.add_row(policy, str(result["agents"]), str(result["episodes"]), *cells)
    _print(table, console)


def print_rows(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of text under a title."""
    table = Table(title, *headings[1:], box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*row)
    _print(table, None)


def _print(table: Table, console: Console | None) -> None:
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, 160)  # a pipe has no width of its own
    console.print(table, markup=False)


def _measured(result: dict[str, Any]) -> list[str]:
    """The metrics in a result, and the reward."""
    about = ("agents", "episodes", "seed", "path_length")
    return [n for n in result if n not in about and not n.endswith(("_ci95", "_by_step"))]


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.3f}"


def describe_run(name: str) -> str:
    """A few words on a run: state, steps, seed, first metric when last evaluated, age."""
    state = run_state(name)
    if state.state == "new":  # it came with the package
        config, step = read_header(find_weights(name))
        return f"shipped   step {step} of {config.training.steps}   seed {config.training.seed}"
    if state.config is None:
        return f"{state.state}: {state.problem}"
    training = state.config.training
    words = [state.state, f"step {state.step} of {training.steps}", f"seed {training.seed}"]
    if state.evaluation and (first := headline(state.evaluation)):
        words.append(f"{first} {state.evaluation[first]:.3f}")
    return "   ".join([*words, f"{_duration(state.age)} ago"])


def _duration(seconds: float) -> str:
    """In the largest unit of which there is at least one."""
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def plot_run(name: str, solved_at: float | None = None) -> Path:
    """Draw a run's first metric, collisions and reward over environment steps into curve.png beside
    its log, and return the file. `solved_at`: where the first metric is good enough. Raises
    UserError where there is no log."""
    from matplotlib.figure import Figure  # takes half a second
    from matplotlib.ticker import EngFormatter

    folder = Run(name).stats
    lines = read_log(folder)
    if not lines:
        raise UserError(f"the run {name!r} has no log in {folder}")
    panels = _panels(lines)
    figure = Figure(figsize=(1 + 3.4 * len(panels), 3.4), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for label, curve in _curves(lines, panel).items():
            if curve:
                axes.plot(*zip(*curve, strict=True), label=label, marker="." * (len(curve) < 30))
        axes.set(title=panel, xlabel="environment steps", ylim=LIMITS.get(panel, (None, None)))
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_formatter(EngFormatter())
    if solved_at is not None:
        figure.axes[0].axhline(solved_at, color="grey", linestyle="--", label="solved")
    figure.axes[0].legend()
    figure.suptitle(name)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    path = folder / "curve.png"
    with whole_file(path) as partial:
        partial.write_bytes(picture.getvalue())
    return path


def _panels(lines: list[dict[str, Any]]) -> list[str]:
    """What is worth a picture: the world's first metric, collisions and reward."""
    metrics = next((list(line["metrics"]) for line in lines if line.get("metrics")), [])
    return [*metrics[:1], *(name for name in metrics[1:] if name == "collisions"), "reward"]


def _curves(lines: list[dict[str, Any]], panel: str) -> dict[str, list[tuple[int, float]]]:
    """[(step, value)] of the exploring agents, as means over all steps or, of what is known when an
    episode ends, over the last 100 episodes; and of the evaluations, but their reward is another
    one, so it has no place beside that of the training."""
    evaluations = dict.fromkeys(k for line in lines for k in line if k.startswith("evaluation"))
    greedy = {
        kind.replace("_", ", N="): [
            (line["step"], line[kind][panel])
            for line in lines
            if panel != "reward" and panel in line.get(kind, {})
        ]
        for kind in evaluations
    }
    by_episode = any(panel in line.get("last_100", {}) for line in lines)
    exploring = [
        (line["step"], value)
        for line in lines
        for value in [line.get("last_100" if by_episode else "metrics", {}).get(panel)]
        if value is not None
    ]
    if panel == "reward":
        exploring = [(line["step"], line[panel]) for line in lines if panel in line]
    return {"training, last 100 episodes" if by_episode else "training": exploring, **greedy}
