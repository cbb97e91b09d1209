"""How the program is started: by a person, and by itself for its own runs."""

import pathlib
import shlex
import sys
from collections.abc import Iterable
from typing import Any, Union

_PACKAGE = pathlib.Path(__file__).resolve().parent.parent
_CHECKOUT = _PACKAGE.parent


def name(argv0: str) -> str:
    """How a person started the program, by the first word of its command line.

    Args:
        argv0: A path that ends in main.py, in __main__.py of this package, or in the
            name of an installed command.
    """
    file = pathlib.PurePath(argv0).name
    if file == "__main__.py":
        return "python -m singan_tf.cli"
    return f"python {file}" if file.endswith(".py") else file


def command() -> list[str]:
    """The words that start the program from any folder, to which a command is added.

    By a path, not by `-m`: that would look for modules in the working folder first.
    """
    script = _CHECKOUT / "main.py"
    # Beside an installed package, main.py would be somebody else's.
    if not (_CHECKOUT / "pyproject.toml").is_file() or not script.is_file():
        script = _PACKAGE / "cli" / "__main__.py"
    return [sys.executable, str(script)]


def train(
    image: Union[str, pathlib.Path], run_dir: pathlib.Path, settings: Iterable[str]
) -> list[str]:
    """The command line that trains an image in a run folder, with settings as flags."""
    return [
        *command(),
        "train",
        f"--image={image}",
        f"--run_dir={run_dir}",
        *settings,
    ]


def paint_sketch(
    run_dir: pathlib.Path, scale: int, output_dir: pathlib.Path
) -> list[str]:
    """The command line that paints a drawing by stages that are trained on sketches."""
    return [
        *command(),
        "paint",
        "--sketch",
        f"--run_dir={run_dir}",
        f"--injection_scale={scale}",
        f"--output_dir={output_dir}",
        # What an interrupted one left, it goes on with.
        "--overwrite",
    ]


def task(run_dir: pathlib.Path, command: str, **flags: Any) -> str:
    """A line for a shell, of a command on a run with some of its flags."""
    return line(["python", "main.py", command, f"--run_dir={run_dir}"], **flags)


def line(words: list[str], **flags: Any) -> str:
    """A line for a shell.

    Args:
        words: Its first words.
        flags: By name; those of None are left out.
    """
    given = [
        f"--{name}={value:g}" if isinstance(value, float) else f"--{name}={value}"
        for name, value in flags.items()
        if value is not None
    ]
    return shlex.join([*words, *given])
