"""Files written whole and kept: written under a temporary name, synced, renamed.

A process killed at any moment leaves the old file or the new one. So does a power cut:
what a file system has not been asked to sync, it may lose or leave empty, whatever the
order in which it was written. And files read: none that a reader would wait for.
"""

import contextlib
import errno
import io
import json
import os
import pathlib
import shutil
import stat
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO, Optional, Union

from singan_tf import errors
from singan_tf.errors import Damaged, UserError

# What TensorFlow takes for a pattern where it reads a path, and not where it writes.
_PATTERN = frozenset("[]*?\\")
_COPY = "bring back a copy of it; nothing else has to go"
# Errors of opening a file that are about no path.
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@contextlib.contextmanager
def replacing(path: pathlib.Path, durable: bool = True) -> Iterator[pathlib.Path]:
    """Gives a temporary path, whose file takes the place of `path` at the end.

    Args:
        path: The file; missing folders are made.
        durable: Whether the file is on the disk before this returns. Without it, a
            power cut may lose or damage the file: for what is written many times a
            minute and is only shown.

    Raises:
        UserError: if it cannot be written; what was there before stays.
        OSError: if it is about something else than the file.
    """
    # Beside the target: os.replace is atomic only within one file system. What a
    # killed process left under this name, the next one replaces.
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        make_folder(path.parent)
        yield temporary
        if durable:
            sync(temporary)
        os.replace(temporary, path)
        if durable:
            sync(path.parent)
    except OSError as error:
        way_out = _way_out(error, path, temporary)
        if way_out is None:
            raise
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}); {way_out}."
        ) from error
    finally:
        # It was never made, or has moved to its place, if it cannot be removed.
        with contextlib.suppress(OSError):
            temporary.unlink()


def _way_out(
    error: OSError, path: pathlib.Path, temporary: pathlib.Path
) -> Optional[str]:
    """What helps; None if the error is of something else than the file."""
    mine = (None, *map(str, (temporary, path, *path.parents)))
    if error.filename not in mine and str(error.filename) not in mine:
        return None
    if isinstance(error, FileExistsError):
        return "a part of its path is a file: choose another place"
    if isinstance(error, FileNotFoundError) and not path.parent.is_dir():
        return errors.way_out(error) or "its folder was removed: choose another place"
    # What encodes pictures gives no number, unless it is used wrongly.
    if error.errno is None and not isinstance(error, io.UnsupportedOperation):
        return "choose another format"
    return errors.way_out(error)


def write_text(
    path: pathlib.Path, text: str, mode: int = 0o666, durable: bool = True
) -> None:
    r"""Writes a text file, as `replacing` does.

    Args:
        path: The file; missing folders are made.
        text: What it is to hold, written as UTF-8; what a file's name has that is none
            becomes an escape, such as \udcff.
        mode: The file's permissions, less the process's mask, from its first byte on.
        durable: As for `replacing`.

    Raises:
        UserError: if it cannot be written.
    """
    with replacing(path, durable) as temporary:
        # One that a killed process left has its own permissions.
        temporary.unlink(missing_ok=True)
        temporary.touch(mode)
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: pathlib.Path, data: dict[str, Any]) -> None:
    """Writes a JSON file whole."""
    write_text(path, json.dumps(data, indent=2) + "\n")


def read_json(path: pathlib.Path) -> Optional[dict[str, Any]]:
    """The contents of a JSON file; None if there is no such file.

    Raises:
        Damaged: if it is not one JSON object.
        UserError: if it cannot be read.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}).") from None
    # Brackets in brackets, thousands deep, are no object of ours either.
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{path} is damaged ({error})", _COPY) from None
    if not isinstance(data, dict):
        raise Damaged(f"{path} is damaged (not a JSON object)", _COPY)
    return data


def require_format(path: pathlib.Path, data: dict[str, Any], known: int) -> None:
    """Refuses what a newer version of the program wrote, before it is misread.

    Args:
        path: Of the JSON file.
        data: Its contents; without a "format" they are of format 0.
        known: The newest format that this version reads.

    Raises:
        Damaged: if the format is no whole number from 0 on.
        UserError: if it is newer.
    """
    found = data.get("format", 0)
    if type(found) is not int or found < 0:
        raise Damaged(f"{path} is damaged (its format is no number)", _COPY)
    if found > known:
        raise UserError(
            f"{path} was made by a newer version of the program; update it."
        )


def make_folder(path: pathlib.Path) -> None:
    """Makes a folder and those above it where they are missing, on the disk.

    Raises:
        OSError: if it cannot be made.
    """
    missing = []
    for folder in (path, *path.parents):
        if folder.exists():
            break
        missing.append(folder)
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync(folder.parent)


def delete(path: pathlib.Path) -> None:
    """Deletes a file, a link or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def sync(path: pathlib.Path) -> None:
    """Waits until a file's contents, or a folder's list of names, are on the disk.

    Raises:
        OSError: if they cannot be written there.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems sync folders by themselves and refuse to be asked.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def sync_tree(folder: pathlib.Path) -> None:
    """Syncs a folder with all that is in it, what is within before what holds it.

    Raises:
        OSError: if something cannot be written.
    """
    for path, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(pathlib.Path(path, name))
        sync(pathlib.Path(path))


def is_plain(path: Union[str, os.PathLike[str]]) -> bool:
    """Whether TensorFlow reads a path as it stands; see `plain_path`."""
    try:
        os.fspath(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return _PATTERN.isdisjoint(os.fspath(path))


@contextlib.contextmanager
def plain_path(folder: Union[str, os.PathLike[str]]) -> Iterator[str]:
    """A path by which TensorFlow finds a folder, whatever its name is.

    TensorFlow writes to a path as it stands but reads it as a pattern, in which
    brackets and backslashes mean something else, and takes no path that is not UTF-8.

    Args:
        folder: An existing folder, or one anywhere that TensorFlow can read.

    Yields:
        The same path, or that of a symbolic link to it, which ends with the context.
    """
    if is_plain(folder):
        yield os.fspath(folder)
        return
    with tempfile.TemporaryDirectory() as place:
        link = pathlib.Path(place, "folder")
        link.symlink_to(pathlib.Path(folder).absolute(), target_is_directory=True)
        yield str(link)


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
        elif error.errno in _SHORTAGES:
            advice = errors.way_out(error) or advice
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
