"""What must be installed for an environment of another package, and how."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from marl.errors import UserError

EXTRAS = ("atari", "butterfly", "sisl")  # families of PettingZoo with an extra of marl


def install(module: str, error: ImportError) -> str:
    """The end of a sentence on a package that is missing: the line that installs it."""
    missing = error.name or ""
    package, _, rest = module.partition(".")
    family = rest.partition(".")[0]
    if package == "pettingzoo" and (missing == package or not missing.startswith(package)):
        known = f"marl[{family}]" if family in EXTRAS else f"pettingzoo[{family}]"
        return f"; pip install '{known}'"
    if missing == package:
        return f"; it is neither installed (pip install {package}) nor in the current folder"
    return "" if missing.startswith(package) else f"; pip install {missing}"


def require(module: str, what: str) -> None:
    """Raise UserError if a module of PettingZoo that `what` needs cannot be imported."""
    try:
        import_module(module)
    except ImportError as error:
        raise UserError(f"{what} cannot be made: {error}{install(module, error)}") from error


def roms(module: str) -> dict[str, str]:
    """The option by which an Atari game finds its ROM among those of `ale_py`, if that is
    installed."""
    found = find_spec("ale_py") if module.startswith("pettingzoo.atari.") else None
    if found is None or found.origin is None:
        return {}
    return {"auto_rom_install_path": str(Path(found.origin).parent / "roms")}
