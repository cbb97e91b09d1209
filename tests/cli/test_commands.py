"""The framework of commands, by commands that are made up; and how it is started."""

import os
import pathlib
import shlex
import shutil
import subprocess
import sys

import pytest
from absl import flags
from helpers import ROOT, run, sentence

import singan_tf
from singan_tf.cli import commands, launch
from singan_tf.errors import UsageError


def define(values):
    flags.DEFINE_integer("count", 3, "The number of things.", flag_values=values)
    flags.DEFINE_string("thing", None, "The thing.", flag_values=values)


def say(call):
    print(call.values.count, call.values.thing, *call.rest)


def check(call):
    call.require("thing")
    if call.values.count < 1:
        raise UsageError("--count must be at least 1.")


COMMANDS = (
    commands.Command("first", "Says what it got.", define, say, check),
    commands.Command("second", "Does nothing.", lambda values: None, say),
)


def told(capsys, *arguments):
    status = commands.run(COMMANDS, ["tool.py", *arguments], "python tool.py")
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_a_command_gets_its_flags(capsys):
    assert told(capsys, "first", "--thing=a", "--count=2") == (0, "2 a\n", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frist"], "There is no command frist: did you mean first?"),
        (["xyz"], "one of first, second."),
        (["first"], "--thing is missing: The thing."),
        (["first", "--thing=a", "--count=0"], "--count must be at least 1."),
        (["first", "--thing=a", "b"], "b is not a flag"),
        (["--version"], "There is no command --version"),
    ],
)
def test_mistakes_are_one_sentence(capsys, arguments, words):
    status, out, error = told(capsys, *arguments)
    assert (status, out) == (2, "")
    assert words in sentence(error)


@pytest.mark.parametrize("arguments", [[], ["help"], ["-h"], ["--help"]])
def test_the_help_has_every_command(capsys, arguments):
    status, out, _ = told(capsys, *arguments)
    assert status == 0
    usage, _, first, second, _, more = out.splitlines()
    assert usage == "Usage: python tool.py COMMAND [--flag ...]"
    assert first.split() == ["first", "Says", "what", "it", "got."]
    assert second.split() == ["second", "Does", "nothing."]
    assert more == "python tool.py COMMAND --help shows a command's flags."


def test_the_only_command_of_a_program_has_no_name(capsys):
    def run_one(*arguments, **options):
        argv = ["tool.py", *arguments]
        status = commands.run_one(COMMANDS[0], argv, "python tool.py", **options)
        return status, capsys.readouterr().out

    assert run_one("--thing=a") == (0, "3 a\n")
    status, out = run_one("--help")
    assert status == 0 and out.startswith("python tool.py: Says what it got.\n")
    found = run_one("--thing=a", "--runner=b", known_only=True)
    assert found == (0, "3 a --runner=b\n")


def test_a_call_again_is_a_line_for_a_shell():
    argv = ["/a b/main.py", "train", "--image=c d", "--overwrite=true"]
    call = commands.Call("python main.py", argv, flags.FlagValues())
    again = call.again(leave_out="overwrite", add=["--loop"])
    assert again.startswith("python ")
    assert shlex.split(again)[1:] == [*argv[:3], "--loop"]
    call = commands.Call("singan", ["/usr/bin/singan", *argv[1:]], flags.FlagValues())
    assert shlex.split(call.again()) == ["singan", *argv[1:]]


@pytest.mark.parametrize(
    ("argv0", "name"),
    [
        ("main.py", "python main.py"),
        ("/some/where/main.py", "python main.py"),
        ("/usr/bin/singan", "singan"),
        ("/x/singan_tf/cli/__main__.py", "python -m singan_tf.cli"),
    ],
)
def test_the_program_is_called_as_it_was_started(argv0, name):
    assert launch.name(argv0) == name


def test_the_version_is_the_packages(capsys):
    status, out, error = run(capsys, "--version")
    assert (status, error) == (0, "")
    assert out.startswith(f"singan_tf {singan_tf.__version__} (")


def version_by(command, folder, **environment):
    """What a command says of its version, started in another folder."""
    return subprocess.run(
        [*command, "--version"],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def hostile(tmp_path):
    """A folder with modules that nobody may take for the program's."""
    for name in ("absl", "singan_tf", "config", "flags", "tqdm"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    return tmp_path


def test_a_checkout_starts_itself_from_any_folder(hostile):
    assert launch.command() == [sys.executable, str(ROOT / "main.py")]
    done = version_by(launch.command(), hostile)
    assert done.stdout.startswith(f"singan_tf {singan_tf.__version__} ("), done.stderr


def test_an_installed_package_starts_itself_from_any_folder(
    tmp_path_factory, monkeypatch, hostile
):
    """Laid out as an installation, beside a main.py of somebody else."""
    site = tmp_path_factory.mktemp("site")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "singan_tf", site / "singan_tf", ignore=ignored)
    (site / "main.py").write_text("raise SystemExit('the wrong program')")
    code = "from singan_tf.cli import launch; print(*launch.command(), sep='\\n')"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(site)},
        cwd=site,
        capture_output=True,
        text=True,
        check=True,
    )
    command = found.stdout.splitlines()
    assert pathlib.Path(command[1]) == site / "singan_tf" / "cli" / "__main__.py"
    done = version_by(command, hostile, PYTHONPATH=str(site))
    assert done.stdout.startswith(f"singan_tf {singan_tf.__version__} ("), done.stderr


def test_help_imports_no_tensorflow():
    code = (
        "import sys, main; main.main(['main.py', 'train', '--help']);"
        "assert not {'tensorflow', 'export', 'apache_beam'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr
