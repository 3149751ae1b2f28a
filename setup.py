"""All metadata is in pyproject.toml; this is for tools that still look for setup.py."""

from setuptools import setup

setup()
