"""What the command lines share: flags, standard streams, and errors' way out.

The client has its own, as it can be copied alone. Imports nothing that takes time.
"""

import errno
import io
import logging
import math
import os
import sys
from collections.abc import Sequence
from typing import Any, Callable, Optional

from absl import flags

from singan_tf import errors
from singan_tf.errors import UsageError, UserError


class PathParser(flags.ArgumentParser):
    """Reads a path as a shell would that had seen it apart from its flag."""

    syntactic_help = "a path"

    def parse(self, argument: str) -> str:
        """Expands the home folder; as in a shell, that of no user stays as it is."""
        path = os.path.expanduser(argument)
        if path.split("/", 1)[0] == "~":
            raise ValueError("the home folder is not known; give the whole path")
        return path


class _PathsParser(flags.ListParser):
    """Reads several paths with commas between, each as `PathParser`."""

    def parse(self, argument: Any) -> list[str]:
        """The paths; one with a comma in it stands in quotation marks."""
        return [PathParser().parse(each) for each in super().parse(argument)]


class _OnceFlag(flags.Flag):
    """A flag of which the last of several would win without a word."""

    def parse(self, argument: str) -> None:
        """Takes a value; refuses a second one."""
        if self.present:
            raise flags.IllegalFlagValueError(
                f"--{self.name} is given twice, {self.value} and {argument}; this "
                "command takes one."
            )
        super().parse(argument)


def define_path(
    name: str,
    default: Optional[str],
    meaning: str,
    values: flags.FlagValues,
    once: bool = False,
) -> None:
    """Defines a flag that is a path, or a name or an address in place of one.

    Args:
        name: The flag's name.
        default: The value where it is not given; None for none.
        meaning: The line of help.
        values: Where it is defined.
        once: Whether it is refused to give it twice.
    """
    kind = _OnceFlag if once else flags.Flag
    flag = kind(PathParser(), flags.ArgumentSerializer(), name, default, meaning)
    flags.DEFINE_flag(flag, values)


def define_paths(name: str, meaning: str, values: flags.FlagValues) -> None:
    """Defines a flag that is several paths, or names in place of them.

    Args:
        name: The flag's name.
        meaning: The line of help.
        values: Where it is defined.
    """
    flags.DEFINE(
        _PathsParser(),
        name,
        None,
        meaning,
        flag_values=values,
        serializer=flags.CsvListSerializer(","),
    )


def parse(
    values: flags.FlagValues, argv: Sequence[str], known_only: bool = False
) -> list[str]:
    """Reads a command line.

    Args:
        values: The flags, which get their values.
        argv: As sys.argv, without the command.
        known_only: Whether unknown flags are for somebody else.

    Returns:
        What is no flag, or none of these.

    Raises:
        UsageError: if a flag is unknown, or its value is not one of its kind.
    """
    try:
        rest = values(argv, known_only=known_only)[1:]
    except flags.Error as error:
        # Of a flagfile that cannot be read it shouts.
        text = " ".join(str(error).split()).removeprefix("ERROR:: ")
        raise UsageError(text) from None
    except UnicodeDecodeError:
        words = zip(argv, [*argv[1:], ""])
        given = [
            word if "=" in word else f"{word} {after}"
            for word, after in words
            if word.lstrip("-").startswith("flagfile")
        ]
        raise UsageError(
            f"What {' '.join(given)} names is no file of flags, a text in UTF-8; name "
            "one that is."
        ) from None
    for name in values:
        value = values[name].value
        # No range that absl checks keeps nan out, as it compares false.
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"--{name}={value} must be a finite number.")
    return rest


def run(command: Callable[[Sequence[str]], None], argv: Sequence[str]) -> int:
    """Carries out a command, and tells in one sentence why it ends early.

    Args:
        command: Takes `argv`.
        argv: As sys.argv.

    Returns:
        The exit status: 0, 1 for bad input, 2 for bad usage, an error's own, 130
        after Ctrl-C.

    Raises:
        Exception: whatever is a fault of the program.
    """
    try:
        command(argv)
        sys.stdout.flush()
    except UserError as error:
        _complain(f"error: {error}")
        return error.status
    except Exception as error:
        if isinstance(error, OSError):
            sentence = errors.explained(error)
        else:
            sentence = errors.shortage(error)
        if sentence is None:
            raise
        _complain(f"error: {sentence}")
        return 1
    except KeyboardInterrupt as stop:
        print(file=sys.stderr)
        _complain(f"Stopped: {stop}" if str(stop) else "Stopped.")
        return 130
    return 0


def say(text: str) -> None:
    """Prints a line that may name files."""
    print(errors.printable(text))


def _complain(text: str) -> None:
    print(errors.printable(text), file=sys.stderr)


class Formatter(logging.Formatter):
    """Makes records lines, whatever the files are called that they name."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The message, without what a terminal would obey."""
        return errors.printable(super().formatMessage(record))


class _Stream(io.FileIO):
    """A standard stream that nobody has to read to the end.

    What a reader that has left, such as `head`, does not want is dropped, so that the
    files of the command are still written. So is what does not fit into a file, once
    that has been told, for it would be told again at exit.
    """

    def __init__(self, name: str, number: int):
        super().__init__(number, "w", closefd=False)
        self._name = name
        self._told = False

    def write(self, data: Any, /) -> int:
        """Writes as FileIO does."""
        if self._told:
            return len(data)
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)
        except OSError as error:
            if error.errno == errno.EINTR:
                raise
            self._told = True
            raise OSError(error.errno, error.strerror, self._name) from None


def set_up_streams() -> None:
    """Makes standard output and error take every text and outlive their readers."""
    for number, name, called in (
        (1, "stdout", "standard output"),
        (2, "stderr", "standard error"),
    ):
        old = getattr(sys, name)
        # None where there is no such stream.
        if old is None:
            continue
        old.flush()
        new = io.TextIOWrapper(
            io.BufferedWriter(_Stream(called, number)),
            encoding=old.encoding,
            # A name may hold what the terminal's encoding has not.
            errors="backslashreplace",
            line_buffering=old.line_buffering,
        )
        setattr(sys, name, new)
