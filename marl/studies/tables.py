"""Tables: on the terminal and in Markdown."""

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import JustifyMethod
from rich.table import Table as RichTable

from marl.console import Console
from marl.evaluation import primary_metric

Table = tuple[list[str], list[list[str]]]  # headings and rows


def as_markdown(table: Table) -> str:
    """A table in Markdown."""
    headings, rows = table
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("<", "&lt;")


def with_interval(value: float, ends: tuple[float, float] | None, digits: int = 3) -> str:
    """A number, and its interval where there is one."""
    if ends is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]"


HEADINGS = {"coverage_015": "at 0.15", "mean_distance": "distance"}  # where not as in a result


def print_rows(
    title: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    numbers: bool = False,
    console: Console | None = None,
) -> None:
    """Print a table of text under a title, which stands above the first column; `numbers`: all
    others hold nothing else. On a narrow terminal it becomes several tables, one below the
    other."""
    gap = 1 if numbers else 2
    lines = [[title, *headings[1:]], *rows]
    widths = [gap + max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    console = console or Console()
    if not console.is_terminal:  # a pipe has no width of its own
        console.width = max(console.width, 160, sum(widths))
    for columns in _fitting(widths, console.width):
        shown = RichTable(box=None, pad_edge=False, padding=(0, gap, 0, 0))
        shown.add_column(title, overflow="fold")
        for column in columns:
            justify: JustifyMethod = "right" if numbers else "left"
            shown.add_column(lines[0][column], justify=justify, no_wrap=numbers, overflow="fold")
        for row in rows:
            shown.add_row(row[0], *(row[column] for column in columns))
        console.print(shown)


def _fitting(widths: Sequence[int], width: int) -> list[list[int]]:
    """The numbers of the columns after the first one, in as few tables as are needed for each to
    fit this width beside the first: narrow terminals cut no number short."""
    tables: list[list[int]] = []
    left = 0
    for column, own in enumerate(widths[1:], 1):
        if not tables or own > left:
            tables.append([])
            left = width - widths[0]
        tables[-1].append(column)
        left -= own
    return tables or [[]]


def print_table(rows: Sequence[tuple[str, dict[str, Any]]], console: Console | None = None) -> None:
    """Print evaluations, (policy, result of `evaluate`) each, one line each; the first metric with
    half the width of its 95 % confidence interval."""
    names = list(dict.fromkeys(name for _, result in rows for name in _measured(result)))
    headings = ["", "agents", "episodes", *(HEADINGS.get(name, name) for name in names)]
    lines = []
    for policy, result in rows:
        cells = [_cell(result.get(name)) for name in names]
        first = primary_metric(result)
        if first and (interval := result[f"{first}_ci95"]):
            cells[names.index(first)] += f" ±{(interval[1] - interval[0]) / 2:.3f}"
        lines.append([policy, str(result["agents"]), str(result["episodes"]), *cells])
    print_rows("policy", headings, lines, numbers=True, console=console)


def _measured(result: dict[str, Any]) -> list[str]:
    """The metrics in a result, and the reward."""
    about = ("agents", "episodes", "seed", "path_length")
    return [n for n in result if n not in about and not n.endswith(("_ci95", "_by_step"))]


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.3f}"
