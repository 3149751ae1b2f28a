"""Tables: on the terminal, in Markdown and in HTML."""

import html
import io
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from marl.evaluation import primary_metric

Table = tuple[list[str], list[list[str]]]  # headings and rows


def as_markdown(table: Table) -> str:
    """A table in Markdown."""
    headings, rows = table
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def _html(table: Table, marked: Any = ()) -> str:
    """A table; rows whose first cell is marked stand out."""
    headings, rows = table
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in headings)
    body = "\n".join(
        ('<tr class="differs">' if row[0] in marked else "<tr>")
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>\n{body}</table>"


def png(figure: Any) -> bytes:
    """A matplotlib figure as the content of a file."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    return picture.getvalue()


HEADINGS = {"coverage_015": "at 0.15", "mean_distance": "distance"}  # where not as in a result


def print_table(rows: Sequence[tuple[str, dict[str, Any]]], console: Console | None = None) -> None:
    """Print evaluations, (policy, result of `evaluate`) each, one line each; the first metric with
    half the width of its 95 % confidence interval."""
    names = list(dict.fromkeys(name for _, result in rows for name in _measured(result)))
    table = RichTable("policy", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("agents", "episodes", *(HEADINGS.get(name, name) for name in names)):
        table.add_column(heading, justify="right", no_wrap=True)
    for policy, result in rows:
        cells = [_cell(result.get(name)) for name in names]
        first = primary_metric(result)
        if first and (interval := result[f"{first}_ci95"]):
            cells[names.index(first)] += f" ±{(interval[1] - interval[0]) / 2:.3f}"
        table.add_row(policy, str(result["agents"]), str(result["episodes"]), *cells)
    _print(table, console)


def print_rows(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of text under a title."""
    table = RichTable(title, *headings[1:], box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*row)
    _print(table, None)


def _print(table: RichTable, console: Console | None) -> None:
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
