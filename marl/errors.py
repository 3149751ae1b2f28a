"""The one kind of error that is meant for the user."""


class UserError(ValueError):
    """One sentence that names the field or file and what is allowed; shown without a traceback."""
