"""The version of marl."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("marl")
except PackageNotFoundError:  # run from a folder of sources
    VERSION = "unknown"
