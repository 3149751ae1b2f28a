"""JSON from files and flags."""

import json
from pathlib import Path
from typing import Any

from marl.errors import UserError

LIMIT = 10_000_000  # bytes; a config has some hundred, the list of a large sweep a million
DEPTH = 50  # of lists and objects in each other
SCHEMA = "$schema"  # by which editors know what a file may hold


def read_json(path: str | Path) -> Any:
    """The content of a JSON file. Raises UserError if there is none."""
    path = Path(path)
    try:
        with open(path, "rb") as file:
            content = file.read(LIMIT + 1)
        if len(content) > LIMIT:
            raise UserError(f"{path} is too large: more than {LIMIT // 1_000_000} MB")
        return parse_json(content.decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no JSON file: its text is not UTF-8") from error
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{path} is no valid JSON: {error}") from error


def read_settings(path: str | Path) -> Any:
    """The content of a JSON file that somebody has written, without `$schema`; errors as in
    `read_json`."""
    data = read_json(path)
    return {k: v for k, v in data.items() if k != SCHEMA} if isinstance(data, dict) else data


def parse_json(text: str) -> Any:
    """JSON. 1e6 is read as a whole number. Raises ValueError, also for a key that appears twice and
    for what is nested too deep."""

    def number(digits: str) -> int | float:
        value = float(digits)
        return int(value) if value.is_integer() else value

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            raise ValueError(f"a key stands twice among {', '.join(key for key, _ in pairs)}")
        return result

    try:
        value = json.loads(text, parse_float=number, object_pairs_hook=unique)
    except RecursionError as error:
        raise ValueError(f"nested more than {DEPTH} deep") from error
    check_depth(value)
    return value


def check_depth(value: Any) -> None:
    """Raise ValueError for JSON that is nested too deep: checking it, or writing it, would fail."""
    level, depth = [value], 0
    while level:
        depth += 1
        level = [
            item
            for outer in level
            if isinstance(outer, dict | list)
            for item in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if depth > DEPTH + 1:
            raise ValueError(f"nested more than {DEPTH} deep")
