"""Lines and tables on the terminal."""

from typing import Any

import rich.console
from rich.text import Text

from marl.streams import printable


class Console(rich.console.Console):
    """rich's console, for text from anywhere: no markup, no emoji, no control characters in it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def on_broken_pipe(self) -> None:
        """Be silent from now on: rich itself would end the program, and with it a training."""
        self.quiet = True

    def render_str(self, text: str, **options: Any) -> Text:
        """See rich; control characters are shown."""
        return super().render_str(printable(text), **options)
