"""The exceptions that reach a user as one sentence instead of a traceback."""

import difflib
import errno
import os
import re
import sys
import unicodedata
from collections.abc import Iterable
from typing import Optional

_ELSEWHERE = "choose another place"
# What helps against the errors that a system has a right to; any other is a fault of
# the program.
_WAYS_OUT = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of the space that you may use",
    errno.EFBIG: "choose a place that takes files of this size (ulimit -f)",
    errno.EROFS: _ELSEWHERE,
    errno.EACCES: f"change its permissions, or {_ELSEWHERE}",
    errno.EPERM: f"change its permissions, or {_ELSEWHERE}",
    errno.ENOTDIR: f"a part of its path is a file: {_ELSEWHERE}",
    errno.EISDIR: "it is a folder: name a file",
    errno.ELOOP: "its links go round in a circle: mend them",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "let a process open more files (ulimit -n)",
    errno.ENFILE: "close other programs",
    errno.ENOMEM: "close other programs",
    errno.EIO: f"the disk does not answer: {_ELSEWHERE}",
    errno.ESTALE: f"the disk does not answer: {_ELSEWHERE}",
    errno.ENODEV: f"the disk does not answer: {_ELSEWHERE}",
    errno.ENOTCONN: f"the disk does not answer: {_ELSEWHERE}",
}
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


class Damaged(UserError):
    """A file that is not as it was written: too short, or other bytes.

    Attributes:
        what: Which one and how, without a full stop.
    """

    def __init__(self, what: str, way_out: str):
        """Makes one sentence of both."""
        super().__init__(f"{what}; {way_out}.")
        self.what = what


def way_out(error: OSError) -> Optional[str]:
    """What helps against an error of the system, as a part of a sentence.

    Returns:
        None if it is a fault of the program.
    """
    if isinstance(error, FileNotFoundError) and working_folder_is_gone():
        return "the working folder was removed: change to another"
    return _WAYS_OUT.get(error.errno or 0)


def explained(error: OSError) -> Optional[str]:
    """An error of the system as one sentence; None if it is the program's fault."""
    way = way_out(error)
    if way is None:
        return None
    subject = "" if error.filename is None else f"{error.filename}: "
    return f"{subject}{error.strerror}; {way}."


def shortage(error: Exception) -> Optional[str]:
    """What an error of Python or of TensorFlow says is short, as one sentence.

    Returns:
        None if it says something else.
    """
    kinds: tuple[type[Exception], ...] = (MemoryError,)
    if "tensorflow" in sys.modules:
        kinds += (sys.modules["tensorflow"].errors.ResourceExhaustedError,)
    if not isinstance(error, kinds):
        return None
    # Not only memory: to TensorFlow, a full disk is this error, too.
    reason = system_reason(error)
    if reason:
        return f"The system has no more to give ({reason}); mend that and try again."
    return "There is not enough memory; ask for a smaller image, or end what else runs."


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the one that was meant, or all."""
    names = list(names)
    near = difflib.get_close_matches(name, names, 1)
    return f"did you mean {near[0]}?" if near else f"one of {', '.join(names)}."


def working_folder_is_gone() -> bool:
    """Whether the working folder was removed, so that no relative path leads on."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


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


def reason_of(error: Exception) -> str:
    """What an error says, in one line and without the names of a graph's nodes."""
    text = re.sub(r"\{\{.*?\}\}|\[Op:\w+\]", "", getattr(error, "message", str(error)))
    lines = text.strip().splitlines() or [type(error).__name__]
    return getattr(error, "strerror", None) or system_reason(error) or lines[0].strip()


def system_reason(error: Exception) -> str:
    """The operating system's reason in an error of TensorFlow's; empty if none."""
    text = str(error)
    known = (os.strerror(number) for number in errno.errorcode)
    return next((reason for reason in known if f"; {reason}" in text), "")
