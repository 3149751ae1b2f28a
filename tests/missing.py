"""Packages that are installed, as if they were not."""

import sys
from typing import Any


def hide(monkeypatch: Any, package: str, *importers: str) -> None:
    """Let imports of a package fail, also in modules whose names begin with `importers`, which may
    have imported it before."""

    class Without:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
            if name.partition(".")[0] == package:
                raise ModuleNotFoundError(f"No module named {name!r}", name=package)

    for name in list(sys.modules):
        if name.partition(".")[0] == package or name.startswith(importers):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Without(), *sys.meta_path])
