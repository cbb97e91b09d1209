"""The exceptions that reach a user as one sentence instead of a traceback."""


class UserError(Exception):
    """Something the user can put right; the message is one sentence that says how.

    The command line prints the message and exits with `status`.
    """

    status = 1


class UsageError(UserError):
    """A flag or a combination of flags that cannot work."""

    status = 2
