"""Files written whole: under a temporary name, then renamed; or not at all."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

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
