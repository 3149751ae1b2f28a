"""A digest of loaded code, which tells versions of your own scenarios and agents apart.

It covers what a function does and reads: its bytecode, and by way of its globals, closures and
default values the compiled helpers of helpers, constants, and attributes of modules. Text counts
only where Python keeps it: comments and other files change nothing, and an edit after the import
does not, either. Libraries, and marl itself, are taken as they are, except for compiled functions.
"""

import dataclasses
import hashlib
import sysconfig
from enum import Enum
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
from numba.core.registry import cpu_target

PLAIN = (type(None), type(...), bool, int, float, complex, str, bytes, Enum)
LIBRARIES = (str(Path(__file__).parent), sysconfig.get_path("stdlib"), "<frozen")
INSTALLED = {"site-packages", "dist-packages"}


def fingerprint(*roots: Any) -> str:
    """A digest, 16 hexadecimal digits, of functions, classes and constants, with everything of your
    own that they read. Equal in all processes that have loaded the same code."""
    walk = _Walk()
    for root in roots:
        walk.visit(root, root=True)
    return walk.digest.hexdigest()[:16]


def is_own(code: CodeType | str) -> bool:
    """Whether code, or a file, is the user's: neither marl's nor an installed package's nor
    Python's."""
    path = code if isinstance(code, str) else code.co_filename
    return not (path.startswith(LIBRARIES) or INSTALLED & {*Path(path).parts})


class _Walk:
    """Visits values and everything that they read, once each."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self._seen: dict[int, tuple[int, Any]] = {}  # with the values, whose ids stay theirs

    def _write(self, *words: str) -> None:
        for word in words:
            self.digest.update(f"{len(word)}:{word}".encode())

    def visit(self, value: Any, names: tuple[str, ...] = (), root: bool = False) -> None:
        """`names`: those that the reader of the value reads, for the attributes of modules. A
        `root` is looked into whoever wrote it."""
        kind = type(value)
        self._write(kind.__module__, kind.__qualname__)
        if isinstance(value, PLAIN):
            self._write(repr(value))
        elif isinstance(value, np.ndarray | np.generic):
            self._write(str(value.dtype), str(value.shape), value.tobytes().hex())
        elif isinstance(value, tuple):
            self._each(getattr(value, "_fields", ()))
            self._each(value)
        elif isinstance(value, set | frozenset):
            self._write(*sorted(map(repr, value)))
        elif isinstance(value, CodeType):
            self._code(value)
        elif id(value) in self._seen:
            self._write(str(self._seen[id(value)][0]))
        else:
            self._seen[id(value)] = len(self._seen), value
            self._look_into(value, names, root)

    def _each(self, values: Any) -> None:
        self._write(str(len(values)))
        for value in values:
            self.visit(value)

    def _look_into(self, value: Any, names: tuple[str, ...], root: bool) -> None:
        if isinstance(value, list):
            self._each(value)
        elif isinstance(value, dict):
            self._each([*value.items()])
        elif isinstance(value, ModuleType):
            for name in names:
                if name in vars(value):
                    self.visit(vars(value)[name], names)
            del self._seen[id(value)]  # another reader reads other names
        elif isinstance(value, type):
            self._class(value, root)
        elif isinstance(value, FunctionType):
            self._write(value.__module__, value.__qualname__)
            if is_own(value.__code__):
                self._each(_implementations(value))
            if root or is_own(value.__code__):
                self._function(value)
        elif isinstance(value, partial):
            self._each([value.func, *value.args, *value.keywords.items()])
        elif isinstance(function := getattr(value, "py_func", None), FunctionType):
            self._each([*getattr(value, "targetoptions", {}).items()])
            self._function(function)
        elif isinstance(function := _wrapped(value), FunctionType):
            self.visit(function)
        elif isinstance(getattr(value, "__name__", None), str):
            self._write(value.__name__)  # such as a function of numpy
        elif dataclasses.is_dataclass(value):
            self._each([getattr(value, field.name) for field in dataclasses.fields(value)])

    def _function(self, function: FunctionType) -> None:
        names = _names(function.__code__)
        self._code(function.__code__)
        self._each([*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).items()])
        for cell in function.__closure__ or ():
            try:
                self.visit(cell.cell_contents, names)
            except ValueError:  # a name without a value yet
                self._write("empty")
        for name in names:
            if name in function.__globals__:
                self._write(name)
                self.visit(function.__globals__[name], names)

    def _code(self, code: CodeType) -> None:
        self._write(code.co_code.hex(), code.co_exceptiontable.hex())
        self._each((code.co_names, code.co_varnames, code.co_freevars, code.co_consts))

    def _class(self, value: type, root: bool) -> None:
        self._write(value.__module__, value.__qualname__, repr(getattr(value, "_fields", ())))
        functions = [x for x in map(_function_of, vars(value).values()) if x is not None]
        if root or any(is_own(function.__code__) for function in functions):
            for base in value.__bases__:
                self.visit(base)
            for name, inner in vars(value).items():
                if not name.startswith("__") or isinstance(inner, FunctionType):
                    self._write(name)
                    self.visit(inner)


def _names(code: CodeType) -> tuple[str, ...]:
    """The names of globals and attributes that a function reads, those inside it included."""
    inner = [name for x in code.co_consts if isinstance(x, CodeType) for name in _names(x)]
    return tuple(dict.fromkeys([*code.co_names, *inner]))


def _wrapped(value: Any) -> Any:
    """The function in a property, a static method, an intrinsic..."""
    for attribute in ("__func__", "fget", "func", "__wrapped__"):
        if isinstance(found := getattr(value, attribute, None), FunctionType):
            return found
    return None


def _function_of(value: Any) -> FunctionType | None:
    """A function in a class, however it is wrapped."""
    found = getattr(value, "py_func", None) or _wrapped(value) or value
    return found if isinstance(found, FunctionType) else None


def _implementations(function: FunctionType) -> list[Any]:
    """What numba compiles in place of a function: the functions that `overload` registered."""
    typing = cpu_target.typing_context
    typing.refresh()
    try:
        templates = getattr(typing.resolve_value_type(function), "templates", ())
    except ValueError:
        return []
    return [inner for x in templates if (inner := getattr(x, "_overload_func", None)) is not None]
