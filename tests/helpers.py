"""What the tests of commands share."""

import io
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

import main
from singan_tf.errors import UserError

ROOT = pathlib.Path(main.__file__).parent
SMOKE = f"--flagfile={ROOT / 'configs' / 'smoke.flags'}"


def run(capsys, *arguments):
    """Runs a command in this process: status, standard output, standard error."""
    status = main.main(["main.py", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def sentence(error):
    """The one sentence of a failed command; fails on a traceback or on more."""
    assert error.startswith("error: ") and error.count("\n") == 1, error
    return error


def refuse(read, path, *words):
    """Reading a path must fail with one sentence that names it and has the words."""
    with pytest.raises(UserError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message and message.endswith(".")
    for word in words:
        assert word in message


def copied(folder, target):
    return pathlib.Path(shutil.copytree(folder, target))


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def pixels(image):
    """The pixels of an image file, given as its path or as its bytes."""
    source = io.BytesIO(image) if isinstance(image, bytes) else image
    return np.asarray(Image.open(source))


def png(array):
    """The bytes of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, format="PNG")
    return file.getvalue()
