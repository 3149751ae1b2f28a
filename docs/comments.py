"""For the API reference: an attribute's docstring is the comment beside it, or, where it is a
setting, the description of its field."""

import ast
import re
from pathlib import Path
from typing import Any

import griffe

OWN_LINE = re.compile(r"\s*#\s?(?!-{5})(.*)")  # a comment that continues the one above it
SHAPE = re.compile(r"^(\{[^}]*\}(?:\s\w+\[[^\]]*\])?|\w+\[[^\]]*\])")  # {g: f32[E, N]}, bool[E]


class Comments(griffe.Extension):
    """Reads `observation: Arrays  # {g: f32[E, N_g, O_g]} the true next one` from the source."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **kwargs: Any) -> None:
        path, end = attr.filepath, attr.endlineno
        if attr.docstring or end is None or not isinstance(path, Path):
            return
        lines = attr.lines_collection[path]
        text = _description(attr) or _comment(lines[end - 1 :])
        if text:
            text = SHAPE.sub(r"`\1`", text)
            attr.docstring = griffe.Docstring(text, lineno=end, parent=attr)


def _description(attr: griffe.Attribute) -> str:
    """`Field(..., description="text")`: the text."""
    for argument in getattr(attr.value, "arguments", ()):
        if getattr(argument, "name", None) == "description":
            return ast.literal_eval(str(argument.value))
    return ""


def _comment(lines: list[str]) -> str:
    """The comment at the end of the first line, and its continuation in the lines below."""
    _, mark, text = lines[0].partition("  # ")
    if not mark or text.startswith(("noqa", "type:")):
        return ""
    words = [text]
    for line in lines[1:]:
        if not (more := OWN_LINE.fullmatch(line)):
            break
        words.append(more[1])
    return " ".join(words)
