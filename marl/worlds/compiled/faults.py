"""Faults in code that is compiled, in one sentence: the file, the line, the reason.

numba tells a fault in a scenario by a page that begins and ends in marl's own kernels. Its parts
are nested, and the innermost comes first: the reason, then the line of the scenario.
"""

import ast
import inspect
import linecache
import os
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any

from numba.core.errors import NumbaError, UnsupportedBytecodeError

from marl.errors import UserError
from marl.fingerprint import is_own

NUMBA_ERRORS = (NumbaError, UnsupportedBytecodeError)
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
PLACE = re.compile(r"""(?:(?:at|from) |File ")(\S[^\n]*?)(?:" ?, line |\ \()(\d+)""")
FAILED = re.compile(r"Failed in nopython mode pipeline \(step: [^)]*\)\s*")
CALL = re.compile(r">>> (\w+)\(([^\n]*)\)")
SPECIFIC = re.compile(r"Error: (?!Failed in)([^\n]+)")
NAMED = re.compile(r"'(\w+)'")
TYPES = (  # numba's words for the types of a scenario
    (re.compile(r"\bLanes\(\w+, \d+\)"), "a number that differs between worlds"),
    (re.compile(r"\bMask\(\w+, \d+\)"), "a condition that differs between worlds"),
    (re.compile(r"\barray\([^)]*\)"), "array"),
    (re.compile(r"Literal\[\w+\]\(([^)]*)\)"), r"\1"),
    (re.compile(r"(of type \w+)\(.*"), r"\1"),
)


def fault(error: Exception, methods: Sequence[FunctionType]) -> Exception:
    """A UserError for what numba says about a scenario with these compiled methods; the error
    itself if none of them is the user's own code."""
    files = {method.__code__.co_filename for method in methods if is_own(method.__code__)}
    if not files:
        return error
    text = COLOURS.sub("", str(error))
    found = next((x for x in PLACE.finditer(text) if is_own(os.path.abspath(x[1]))), None)
    inner = text[: found.start()] if found else text
    reason = inner[[0, *(x.end() for x in FAILED.finditer(inner))][-1] :].strip()
    place = (os.path.abspath(found[1]), int(found[2])) if found else None
    if reason.startswith("NameError: ") or place is None:
        place = _search(reason, methods) or place
    if re.search(r">>> (?:bool|truth)\((?:Mask|Lanes)\(", reason) and place:
        said = _condition(*place)
    else:
        said = _reason(reason)
    path, line = place or (min(files), 0)
    return UserError(f"{_shown(path)}{f', line {line}' if line else ''}: {said}")


def _shown(path: str) -> str:
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def _reason(text: str) -> str:
    """numba's reason in one line."""
    first = text.partition("\n")[0]
    call, specific = CALL.search(text), SPECIFIC.findall(text)
    if first.startswith("No implementation of") and call:
        name, given = call[1].lstrip("_"), call[2]
        first = f"{name}(): {specific[-1]}" if specific else f"{name}() cannot take ({given})"
    first = re.sub(r"\W*Raised( from.*)?$", "", first).removeprefix("NameError: ")
    first = re.sub(r": [^:]*%.*", "", first)  # the compiler's own registers
    for kind, shorter in TYPES:
        first = kind.sub(shorter, first)
    return first


# ---------------------------------------------------------------------------------- in the sources


def _tree(path: str) -> ast.Module:
    try:
        return ast.parse("".join(linecache.getlines(path)))
    except SyntaxError:
        return ast.parse("")


def _condition(path: str, line: int) -> str:
    """The sentence for a condition in this line that would need one answer for all worlds."""
    asking = (ast.If, ast.IfExp, ast.While, ast.Assert)
    tests = []
    node: Any
    for node in ast.walk(_tree(path)):
        joins = isinstance(node, ast.BoolOp) or len(getattr(node, "ops", ())) > 1
        test = node.test if isinstance(node, asking) else node if joins else None
        if test is not None and test.lineno <= line <= (test.end_lineno or line):
            tests.append((test, joins))
    if not tests:
        return "this differs between worlds: use where()"
    test, joins = tests[-1]  # the innermost
    names = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)} - {"self"}
    what = names.pop() if len(names) == 1 else ast.unparse(test)
    return f"{what} differs between worlds: use where()" + joins * ", and & or | to join conditions"


def _search(reason: str, methods: Sequence[FunctionType]) -> tuple[str, int] | None:
    """Where compiled code of the user's own reads the name that the reason names, or has the
    statement: numba does not say."""
    names = NAMED.findall(reason)
    node: Any
    for function in _functions(methods):
        try:
            lines, first = inspect.getsourcelines(function)
            tree = ast.parse(textwrap.dedent("".join(lines)))
        except (OSError, SyntaxError):
            continue
        for node in ast.walk(tree):
            name = getattr(node, "id", getattr(node, "attr", None))
            if name in names or (isinstance(node, ast.With) and "'with" in reason):
                return function.__code__.co_filename, first + node.lineno - 1
    return None


def _functions(methods: Sequence[FunctionType]) -> Iterator[FunctionType]:
    """The methods and the compiled helpers that they name, the user's own only."""
    for method in methods:
        helpers: list[Any] = [method.__globals__.get(name) for name in method.__code__.co_names]
        for function in (method, *(getattr(helper, "py_func", None) for helper in helpers)):
            if isinstance(function, FunctionType) and is_own(function.__code__):
                yield function
