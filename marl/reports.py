"""Tables and plots of what a run or an evaluation gave."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from marl.errors import UserError
from marl.runs import Run, read_log, whole_file

COLUMNS = {  # of the table: key of a result, heading
    "coverage": "coverage",
    "coverage_015": "at 0.15",
    "collisions": "collisions",
    "mean_distance": "distance",
    "reward": "reward",
}
PANELS = (("coverage", (0.0, 1.02)), ("collisions", (0.0, None)), ("reward", (None, None)))


def print_table(rows: Sequence[tuple[str, dict[str, Any]]], console: Console | None = None) -> None:
    """Print evaluations, (policy, result of `evaluate`) each, one line each; coverage with half the
    width of its 95 % confidence interval."""
    names = [name for name in COLUMNS if any(name in result for _, result in rows)]
    table = Table("policy", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("agents", "episodes", *(COLUMNS[name] for name in names)):
        table.add_column(heading, justify="right", no_wrap=True)
    for policy, result in rows:
        cells = [_cell(result.get(name)) for name in names]
        interval = result.get("coverage_ci95")
        if interval:
            cells[names.index("coverage")] += f" ±{(interval[1] - interval[0]) / 2:.3f}"
        table.add_row(policy, str(result["agents"]), str(result["episodes"]), *cells)
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, 160)  # a pipe has no width of its own
    console.print(table)


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.3f}"


def plot_run(name: str) -> Path:
    """Draw a run's coverage, collisions and reward over environment steps into curve.png beside its
    log, and return the file. Raises UserError where there is no log."""
    from matplotlib.figure import Figure  # takes half a second
    from matplotlib.ticker import EngFormatter

    folder = Run(name).stats
    lines = read_log(folder)
    if not lines:
        raise UserError(f"the run {name!r} has no log in {folder}")
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    for axes, (panel, limits) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        for label, curve in _curves(lines, panel).items():
            if curve:
                axes.plot(*zip(*curve, strict=True), label=label, marker="." * (len(curve) < 30))
        axes.set(title=panel, xlabel="environment steps", ylim=limits)
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_formatter(EngFormatter())
    figure.axes[0].legend()
    figure.suptitle(name)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    path = folder / "curve.png"
    with whole_file(path) as partial:
        partial.write_bytes(picture.getvalue())
    return path


def _curves(lines: list[dict[str, Any]], panel: str) -> dict[str, list[tuple[int, float]]]:
    """[(step, value)] of the exploring agents, as means over all steps, and of the evaluations; but
    their reward is another one, so it has no place beside that of the training."""
    greedy = [
        (line["step"], line["evaluation"][panel])
        for line in lines
        if panel != "reward" and panel in line.get("evaluation", {})
    ]
    exploring = [
        (line["step"], value)
        for line in lines
        for value in [line.get("metrics", {}).get(panel, line.get(panel))]
        if value is not None
    ]
    return {"training": exploring, "evaluation": greedy}
