"""Commands with flags: parsing, help, and errors as one sentence; no command itself.

A program is a list of commands, or one command without a name. Imports nothing that
takes time.
"""

import dataclasses
import pathlib
import shlex
import textwrap
from collections.abc import Iterable, Sequence
from typing import Callable, Optional

from absl import flags

from singan_tf import errors
from singan_tf.cli import command_line
from singan_tf.errors import UsageError, UserError, nearest

_HELP = {"-h", "-help", "--help", "--helpfull"}


@dataclasses.dataclass(frozen=True)
class Call:
    """A command that somebody gave.

    Attributes:
        program: How the program is started, such as "python main.py".
        argv: As sys.argv.
        values: The flags, parsed.
        rest: What is no flag of the command, where it takes such.
    """

    program: str
    argv: Sequence[str]
    values: flags.FlagValues
    rest: Sequence[str] = ()

    def require(self, *names: str) -> None:
        """Refuses a call in which one of these flags has no value.

        Raises:
            UsageError: if one has none.
        """
        for name in names:
            value = self.values[name].value
            if not value or value == [""]:
                meaning = self.values[name].help
                raise UsageError(f"--{name} is missing: {meaning}")

    def again(self, leave_out: str = "", add: Iterable[str] = ()) -> str:
        """The same call, as a line for a shell.

        Args:
            leave_out: The name of a flag to leave out, in any spelling; or none.
            add: Arguments to add at the end.
        """
        kept = [
            argument
            for argument in self.argv[1:]
            if not leave_out or not argument.lstrip("-").startswith(leave_out)
        ]
        return self.other(*kept, *add)

    def other(self, *arguments: str) -> str:
        """A call of the same program with other arguments, as a line for a shell."""
        program = self.program
        # It may be in another folder.
        if program == f"python {pathlib.PurePath(self.argv[0]).name}":
            program = f"python {shlex.quote(self.argv[0])}"
        return f"{program} {shlex.join(arguments)}"


def _no_check(call: Call) -> None:
    """Accepts every call."""


@dataclasses.dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        name: Its name; empty where a program has no other command.
        help: What it does, in one line.
        define: Defines its flags.
        run: Carries it out.
        check: Refuses what cannot work by the flags alone; before `run`.
    """

    name: str
    help: str
    define: Callable[[flags.FlagValues], None]
    run: Callable[[Call], None]
    check: Callable[[Call], None] = _no_check


def run(
    commands: Sequence[Command],
    argv: Sequence[str],
    program: str,
    usage: str = "COMMAND [--flag ...]",
    version: Optional[Callable[[], str]] = None,
) -> int:
    """Carries out one of several commands.

    Args:
        commands: In the order of the help.
        argv: As sys.argv: the program, the command's name, its flags.
        program: How the program is started, such as "python main.py".
        usage: What follows the program in the first line of the help.
        version: Tells what --version prints; without it, there is no such flag.

    Returns:
        The exit status, see `command_line.run`.
    """

    def carry_out(argv: Sequence[str]) -> None:
        first = argv[1] if len(argv) > 1 else "help"
        if first in _HELP | {"help"}:
            _print_commands(commands, program, usage)
        elif version and first == "--version":
            command_line.say(version())
        else:
            _carry_out(parse(commands, argv, program))

    return command_line.run(carry_out, argv)


def run_one(
    command: Command,
    argv: Sequence[str],
    program: str,
    known_only: bool = False,
) -> int:
    """Carries out the only command of a program.

    Args:
        command: It; its name is of no account.
        argv: As sys.argv: the program, its flags.
        program: How the program is started, such as "python -m export.beam_sample".
        known_only: Whether flags that are not the command's are for somebody else,
            and go into `Call.rest`.

    Returns:
        The exit status, see `command_line.run`.
    """
    return command_line.run(
        lambda argv: _carry_out(parse_one(command, argv, program, known_only)), argv
    )


def parse(commands: Sequence[Command], argv: Sequence[str], program: str) -> tuple:
    """Finds a command and reads its flags.

    Args:
        commands: To choose from.
        argv: As sys.argv: the program, the command's name, its flags.
        program: How the program is started.

    Returns:
        (Command, Call); the call is None after the command's help was printed.

    Raises:
        UsageError: if there is no such command, or a flag is wrong.
    """
    by_name = {command.name: command for command in commands}
    command = by_name.get(argv[1])
    if command is None:
        raise UsageError(f"There is no command {argv[1]}: {nearest(argv[1], by_name)}")
    _, call = parse_one(command, [argv[0], *argv[2:]], f"{program} {command.name}")
    if call is not None:
        call = dataclasses.replace(call, program=program, argv=argv)
    return command, call


def parse_one(
    command: Command, argv: Sequence[str], program: str, known_only: bool = False
) -> tuple[Command, Optional[Call]]:
    """Reads the flags of a command; as `parse`, with no command's name in `argv`."""
    values = flags.FlagValues()
    command.define(values)
    if _HELP & set(argv[1:]):
        _print_flags(command, values, program)
        return command, None
    rest = command_line.parse(values, argv, known_only)
    if rest and not known_only:
        raise UsageError(f"{rest[0]} is not a flag; flags look like --name=value.")
    return command, Call(program, argv, values, rest)


def _carry_out(found: tuple[Command, Optional[Call]]) -> None:
    command, call = found
    if call is None:
        return
    if errors.working_folder_is_gone():
        raise UserError("The working folder was removed; change to another.")
    command.check(call)
    command.run(call)


def _print_commands(commands: Sequence[Command], program: str, usage: str) -> None:
    command_line.say(f"Usage: {program} {usage}")
    print()
    for command in commands:
        print(f"  {command.name:18}{command.help}")
    print()
    command_line.say(f"{program} COMMAND --help shows a command's flags.")


def _print_flags(command: Command, values: flags.FlagValues, program: str) -> None:
    command_line.say(f"{program}: {command.help}")
    print()
    for flag in (values[name] for name in values):
        print(f"  --{flag.name}={flag.default}")
        print(textwrap.indent(textwrap.fill(flag.help, 74), "      "))
    print("  --flagfile=FILE\n      The file to read flags from.")
