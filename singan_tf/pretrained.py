"""Weights that others have trained, from the network into Keras' cache."""

import pathlib

from singan_tf.errors import UserError
from singan_tf.keras2 import keras

# In place of a path: what a flag says to have the network asked.
DOWNLOAD = "download"


def download(name: str, url: str, md5: str, flag: str) -> pathlib.Path:
    """Keras' own copy, in its cache; from the network if it is not there yet.

    Args:
        name: Of the file.
        url: Where it is.
        md5: Of its bytes.
        flag: That asked for it, for the error.

    Raises:
        UserError: if it cannot be had.
    """
    try:
        path = keras.utils.get_file(name, url, cache_subdir="models", file_hash=md5)
    except Exception as error:
        # What it raises depends on how the network fails.
        reason = " ".join(str(error).split())
        raise UserError(
            f"--{flag}={DOWNLOAD} failed ({reason}); bring {name} here by other means "
            "and pass its path."
        ) from None
    return pathlib.Path(path)


def require_readable(path: pathlib.Path, flag: str) -> None:
    """Looks whether a file of weights may be read, before it is called another file.

    Args:
        path: An existing file.
        flag: That named it, for the error.

    Raises:
        UserError: if it may not be read; the message says why.
    """
    try:
        path.open("rb").close()
    except OSError as error:
        raise UserError(f"--{flag}={path} cannot be read ({error.strerror}).") from None
