"""Tables and plots of a run or an evaluation."""

import io
from pathlib import Path
from typing import Any

from marl.errors import UserError
from marl.runs.files import whole_file
from marl.runs.log import read_log
from marl.runs.run import Run

LIMITS = {"coverage": (0.0, 1.02), "collisions": (0.0, None)}


def plot_run(name: str, solved_at: float | None = None) -> Path:
    """Plot a run's first metric, collisions and reward over environment steps into curve.png beside
    its log, and return the file. `solved_at`: the value of the first metric that counts as solved.
    Raises UserError if there is no log."""
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
    path = folder / "curve.png"
    with whole_file(path) as partial:
        partial.write_bytes(png(figure, dpi=120))
    return path


def png(figure: Any, dpi: int = 110) -> bytes:
    """A matplotlib figure as the content of a file. A dollar in a name is no formula."""
    from matplotlib import rc_context
    from matplotlib.text import Text

    picture = io.BytesIO()
    with rc_context({"text.parse_math": False}):
        for text in figure.findobj(Text):
            text.set_parse_math(False)
        figure.savefig(picture, format="png", dpi=dpi)
    return picture.getvalue()


def _panels(lines: list[dict[str, Any]]) -> list[str]:
    """The plotted quantities: the world's first metric, collisions and reward."""
    metrics = next((list(line["metrics"]) for line in lines if line.get("metrics")), [])
    return [*metrics[:1], *(name for name in metrics[1:] if name == "collisions"), "reward"]


def _curves(lines: list[dict[str, Any]], panel: str) -> dict[str, list[tuple[int, float]]]:
    """[(step, value)] of the exploring agents: means over all steps or, for metrics known at the
    end of an episode, over the last 100 episodes; and of the evaluations. The reward of evaluations
    is left out, because it may be another reward than in training."""
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
