"""The progress of a run: a bar on a terminal, plain lines in a pipe."""

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from marl.console import Console
from marl.evaluation import primary_metric


class Display:
    """A context manager that shows steps per second, the remaining time, and the world's first
    metric in the last evaluation."""

    def __init__(self, name: str, steps: int, done: int) -> None:
        self._steps, self._begun = steps, done
        self._console = Console(soft_wrap=True)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[speed]} steps/s  left"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[metric]}", markup=False),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(name, total=steps, completed=done, speed="-", metric="")
        self._metric = ""

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def evaluated(self, results: list[dict]) -> None:
        """Show an evaluation: a result for each number of agents."""
        first = results[0]
        if name := primary_metric(first):
            others = [f"   {result[name]:.3f} with {result['agents']}" for result in results[1:]]
            self._metric = f"{name} {first[name]:.3f}" + "".join(others)

    def logged(self, step: int, steps_per_second: float) -> None:
        """Show the current step and speed."""
        speed = f"{steps_per_second:,.0f}"
        self._bar.update(self._task, completed=step, speed=speed, metric=self._metric)
        if self._bar.disable and steps_per_second:
            left = max(self._steps - step, 0) / steps_per_second
            columns = [f"step {step} of {self._steps}", f"{speed} steps/s", f"{left:.0f} s left"]
            self.say("   ".join([*columns, *([self._metric] if self._metric else [])]))

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text)
