"""Files written whole: under a temporary name, then renamed; or not at all.

And files read: none that a reader would wait for.
"""

import contextlib
import os
import pathlib
import stat
from collections.abc import Iterator
from typing import BinaryIO

from singan_tf.errors import UserError


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a temporary path, whose file takes the place of `path` at the end.

    Args:
        path: Missing folders are made.

    Raises:
        UserError: if it cannot be written; what was there before stays.
    """
    # Beside the target: os.replace is atomic only within one file system. What a
    # killed process left under this name, the next one replaces.
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}); choose another "
            "place or format, or free some space."
        ) from error
    finally:
        # It was never made, or has moved to its place, if it cannot be removed.
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_text(path: pathlib.Path, text: str, mode: int = 0o666) -> None:
    """Writes a text file, as `replacing` does.

    Args:
        path: Missing folders are made.
        text: Written as UTF-8.
        mode: The file's permissions, less the process's mask, from its first byte on.

    Raises:
        UserError: if it cannot be written.
    """
    with replacing(path) as temporary:
        # One that a killed process left has its own permissions.
        temporary.unlink(missing_ok=True)
        temporary.touch(mode)
        temporary.write_text(text, encoding="utf-8")


def open_to_read(path: pathlib.Path) -> BinaryIO:
    """Opens a regular file for reading.

    A pipe would keep a reader waiting for ever, a device need not end.

    Args:
        path: The file, or a link to one.

    Raises:
        UserError: There is no such file, it may not be read, or it is a folder, a
            pipe, a device or a socket; the message says which.
    """
    try:
        # Before it is opened: that alone makes some devices do something.
        _check_regular(path, os.stat(path).st_mode)
        file = open(path, "rb", opener=_open_without_waiting)
    except ValueError:
        raise UserError(
            f"{path} cannot be the name of a file (there is a NUL character in it)."
        ) from None
    except OSError as error:
        advice = "check the path and the working folder"
        if isinstance(error, PermissionError):
            advice = "change its permissions (chmod +r) or copy it"
        raise UserError(
            f"{path} cannot be opened ({error.strerror}); {advice}."
        ) from error
    try:
        # Meanwhile another may have taken its place.
        _check_regular(path, os.fstat(file.fileno()).st_mode)
    except UserError:
        file.close()
        raise
    return file


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_regular(path: pathlib.Path, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise UserError(f"{path} is a folder; give the path of one file in it.")
    kind = "a device"
    if stat.S_ISFIFO(mode):
        kind = "a pipe"
    elif stat.S_ISSOCK(mode):
        kind = "a socket"
    raise UserError(
        f"{path} is {kind}, and only files can be read; save what comes from it to "
        "a file first."
    )
