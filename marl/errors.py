"""Errors that are meant for the user: shown in one sentence, without a traceback."""


class UserError(ValueError):
    """One sentence that names the field or file and what is allowed."""


class RunsFailed(Exception):
    """Some runs of a sweep failed, though not because the command was wrong: exit status 1."""


class WorldFailed(RuntimeError):
    """A world that somebody else wrote failed while it was played in: exit status 1."""
