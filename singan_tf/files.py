"""Files written whole: under a temporary name, then renamed; or not at all."""

import contextlib
import io
import os
import pathlib
from collections.abc import Iterator
from typing import Optional

from singan_tf import errors
from singan_tf.errors import UserError


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a temporary path, whose file takes the place of `path` at the end.

    Args:
        path: Missing folders are made.

    Raises:
        UserError: if it cannot be written; what was there before stays.
        OSError: if it is about something else than the file.
    """
    # Beside the target: os.replace is atomic only within one file system. What a
    # killed process left under this name, the next one replaces.
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
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
