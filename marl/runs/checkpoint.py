"""A checkpoint: tensors in a .safetensors file, with the config and the step in its header.

marl never loads a pickle.
"""

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from marl.config.json_text import check_depth
from marl.config.model import Config
from marl.config.stored import StoredConfig, parse_stored_config
from marl.errors import PolicyWarning, UserError
from marl.runs.files import WholeFiles, strict_json, whole_file
from marl.version import VERSION

FORMAT = "1"


@dataclass(frozen=True)
class Checkpoint:
    """The content of a weights or state file."""

    config: StoredConfig
    step: int
    tensors: dict[str, np.ndarray]
    extra: dict[str, Any]  # whatever else the writer put into the header


def write_checkpoint(
    path: Path,
    kind: str,
    config: Config,
    step: int,
    tensors: Mapping[str, Tensor | np.ndarray],
    files: WholeFiles | None = None,
    **extra: Any,
) -> None:
    """Write tensors with the complete config and the step in the header; together with others, if
    `files` is given.

    The same content gives the same bytes. There is one header entry only, because the library does
    not keep the order of several.
    """
    header = {
        "format": FORMAT,
        "kind": kind,
        "version": VERSION,
        "step": step,
        "config": config.to_json(),
        **extra,
    }
    arrays = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    with files.file(path) if files else whole_file(path) as partial:
        save_file(arrays, partial, {"marl": strict_json(header, sort_keys=True)})


def read_checkpoint(path: Path, kind: str = "weights") -> Checkpoint:
    """Read and check a weights or state file; `kind` is "weights" or "state".

    Raises UserError for a file that is missing, damaged or of another kind, and for numbers that
    are not finite.
    """
    with _opened(path, kind) as (config, step, header, stored):
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    for name, array in tensors.items():
        if not is_finite(array):
            raise UserError(f"{path} holds numbers that are not finite, in {name}")
    return Checkpoint(config, step, tensors, header)


def warn_of_unfinished(name: str, checkpoint: Checkpoint, stacklevel: int) -> None:
    """Warn of the weights of a run that goes on, or that was stopped. `stacklevel` as in
    `warnings.warn`, counted from the caller."""
    steps = checkpoint.config.training.steps
    if checkpoint.step < steps:
        warnings.warn(
            f"the weights of {name} are those of step {checkpoint.step} of {steps}",
            PolicyWarning,
            stacklevel=stacklevel + 1,
        )


class Header(NamedTuple):
    """What a weights file says of itself."""

    config: StoredConfig
    step: int
    evaluation_due: bool  # the run was stopped before the evaluation of this step


def read_header(path: Path) -> Header:
    """The header of a weights file; errors as in `read_checkpoint`."""
    with _opened(path, "weights") as (config, step, header, _):
        return Header(config, step, bool(header.get("evaluation_due", False)))


PICKLES = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
"""The first bytes of a pickle, by its protocol."""


@contextmanager
def _opened(path: Path, kind: str) -> Iterator[tuple[StoredConfig, int, dict[str, Any], Any]]:
    """Config, step and header of a file of ours, checked, and the open file."""
    try:
        with open(path, "rb") as file:
            start = file.read(9)
        # A safetensors file may begin with the same bytes: its header's length, then the header.
        pickled = start[:2] in PICKLES and start[8:] != b"{"
        if pickled or start[:2] == b"PK":
            raise UserError(
                f"{path} is a pickle or a PyTorch file; only .safetensors files written by marl "
                "are loaded, as a pickle could run any code"
            )
        with safe_open(path, "np") as stored:
            metadata = stored.metadata() or {}
            header = json.loads(metadata.get("marl", "null"))
            check_depth(header)
            if not isinstance(header, dict):
                raise UserError(f"{path} was not written by marl: its header holds no config")
            if header.get("format") != FORMAT:
                raise UserError(
                    f"{path} has format {header.get('format')!r}, but this version reads {FORMAT!r}"
                )
            if header["kind"] != kind:
                raise UserError(f"{path} holds {header['kind']}, but {kind} are needed here")
            yield stored_config(path, header["config"]), int(header["step"]), header, stored
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise UserError(f"{path} is cut short, or no .safetensors file at all: {error}") from error
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UserError(f"{path} has a damaged header: {error}") from error


def stored_config(path: Path, data: Any) -> StoredConfig:
    """The config in a weights or state file. Raises UserError if it is damaged or does not fit this
    version."""
    if not isinstance(data, dict):
        raise UserError(f"{path} is damaged: it holds no config")
    try:
        return parse_stored_config(path, data)
    except UserError as error:
        raise UserError(f"{path} holds a config that does not fit this version: {error}") from error


def is_finite(array: np.ndarray) -> bool:
    """Whether all numbers of an array are finite."""
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def as_tensors(arrays: Mapping[str, np.ndarray], prefix: str = "") -> dict[str, Tensor]:
    """Copies, as tensors, of the arrays whose names begin with `prefix`, with the prefix
    removed."""
    return {
        name.removeprefix(prefix): torch.from_numpy(array.copy())
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
