"""The one kind of error that is meant for the user."""


class UserError(ValueError):
    """One sentence that names the field or file and what is allowed; shown without a traceback."""


class RunsFailed(Exception):
    """Some runs of a sweep failed, though not because the command was wrong: exit status 1."""
