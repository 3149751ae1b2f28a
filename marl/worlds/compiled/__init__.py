"""The common parts of all compiled worlds."""
