"""Files that are written whole or not at all; devices, pipes and links stay what they are."""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from marl.destinations import partial_file, put, writable
from marl.errors import UserError


@contextmanager
def whole_files() -> Iterator["WholeFiles"]:
    """Files that are written together. If the block ends well they are put in place, one right
    after the other; otherwise all stay as they were. Raises UserError if a file cannot be
    written."""
    files = WholeFiles()
    try:
        yield files
        for path, partial in files.partials.items():
            files.path = path
            put(partial, path)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error).rpartition("error: ")[2]
        raise UserError(f"cannot write {files.path}: {reason}") from error
    finally:
        for partial in files.partials.values():
            with suppress(OSError):
                partial.unlink()


class WholeFiles:
    """The files that `whole_files` is about to put in place."""

    def __init__(self) -> None:
        self.partials: dict[Path, Path] = {}
        self.path = Path()  # the one that is worked on

    @contextmanager
    def file(self, path: Path) -> Iterator[Path]:
        """A temporary file beside `path`, for a block that writes it."""
        self.path = path
        partial = self.partials[path] = partial_file(path, f".{path.name}.partial")
        partial.touch()
        mode = partial.stat().st_mode
        yield partial
        partial.chmod(mode)  # safetensors leaves files that only their owner can read
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`. If the block ends well it replaces `path`; otherwise `path`
    stays as it was. Raises UserError if it cannot be written."""
    with whole_files() as files, files.file(path) as partial:
        yield partial


def check_writable(path: Path) -> None:
    """Raise UserError now, before long work, if a file cannot be written."""
    if not writable(path):
        raise UserError(f"cannot write {path}: not a file in a folder that can be written to")


def strict_json(value: Any, **layout: Any) -> str:
    """JSON as every reader takes it: a number that is not finite, which JSON does not have, is
    null. `layout`: as `json.dumps` has it."""
    return json.dumps(_finite(value), allow_nan=False, **layout)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(x) for key, x in value.items()}
    return [_finite(x) for x in value] if isinstance(value, list | tuple) else value


def write_json(path: Path, value: Any) -> None:
    """Write a file of `strict_json` whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(strict_json(value, indent=2) + "\n", "utf-8")
