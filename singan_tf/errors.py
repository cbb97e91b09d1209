"""The exceptions that reach a user as one sentence instead of a traceback."""

import unicodedata

# Control characters, halves of surrogate pairs (bytes of a file's name that are not
# UTF-8) and separators of lines and paragraphs.
_HIDDEN = ("Cc", "Cs", "Zl", "Zp")
# They turn the order of the letters around, so that one name looks like another.
_DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


class UserError(Exception):
    """Something the user can put right; the message is one sentence that says how.

    The command line prints the message and exits with `status`. Names of files are in
    it as they are; `printable` makes it fit for a terminal.
    """

    status = 1


class UsageError(UserError):
    """A flag or a combination of flags that cannot work."""

    status = 2


def printable(text: object) -> str:
    r"""A text for a terminal, on one line, where a file's name may hold anything.

    Args:
        text: What to show, such as a path or a message; made a string first.

    Returns:
        The text with control characters, line breaks and what is not UTF-8 as
        escapes, such as \n, \x1b or \udcff; every other letter stays. A text that
        was made printable stays as it is.
    """
    return "".join(
        repr(letter)[1:-1]
        if letter in _DIRECTIONS or unicodedata.category(letter) in _HIDDEN
        else letter
        for letter in str(text)
    )
