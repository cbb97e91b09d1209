"""What all command lines share: kinds of flags, standard streams, errors' way out."""

import errno
import importlib
import importlib.util
import json
import logging
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from benchmarks import load_test
from helpers import ROOT, run, sentence

import main
from export import client, client_commands, signatures
from singan_tf.cli import command_line, commands, program
from singan_tf.errors import UserError

WITH_BEAM = importlib.util.find_spec("apache_beam") is not None

# Every text that a flag takes is one or the other.
PATHS = {
    "config_dir",
    "image",
    "images",
    "inception_weights",
    "input",
    "keep",
    "mask",
    "output",
    "output_dir",
    "reference",
    "root_certificates",
    "run_dir",
    "runs_dir",
    "samples",
    "study_dir",
    "tls_cert",
    "tls_key",
    "train_mask",
    "vgg_weights",
}
OTHERS = {
    "adversary",
    "adversary_gradient",
    "beam_flags",
    "critic_constraint",
    "critic_normalization",
    "generator_normalization",
    "host",
    "injection_scale",
    "label",
    "learning_rate_schedule",
    "mixed_precision",
    "model_name",
    "name",
    "padding",
    "patch_alignment",
    "reconstruction_noise",
    "signature",
    "strategy",
    "target",
}


def all_flags():
    """The flags of every command, by the command."""
    defines = {command.name: command.define for command in program.COMMANDS}
    defines.update(
        (f"client {command.name}", command.define)
        for command in client_commands.COMMANDS
    )
    defines["load_test"] = load_test.COMMAND.define
    if WITH_BEAM:
        defines["beam_sample"] = importlib.import_module(
            "export.beam_sample"
        ).COMMAND.define
    for name, define in defines.items():
        values = flags.FlagValues()
        define(values)
        yield name, values


def test_every_path_has_its_home_folder_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    seen = set()
    for command, values in all_flags():
        for name in list(values):
            if values[name].flag_type() != "string":
                continue
            # For Beam an address of any kind of storage, elsewhere a name.
            path = name in PATHS or (command, name) == ("beam_sample", "model")
            assert path or name in OTHERS | {"model"}, name
            seen.add(name)
            values(["program", f"--{name}=~/a b/~c"])
            found = values[name].value
            assert found == ("/home/me/a b/~c" if path else "~/a b/~c"), name
            # As commands print it, and give it to others.
            again = values[name].serialize()
            assert again == f"--{name}={found}"
    assert seen >= PATHS | OTHERS


def test_what_is_no_home_folder_stays_as_it_is():
    values = flags.FlagValues()
    command_line.define_path("image", None, "A path.", values)
    for text in ("coffee", "download", "gs://bucket/~", "./~", "a~/b", "~no-such-user"):
        command_line.parse(values, ["program", f"--image={text}"])
        assert values.image == text


def test_a_flagfile_that_is_no_text_is_one_sentence(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n")
    for given in ([f"--flagfile={tmp_path}/photo.png"], ["--flagfile", "photo.png"]):
        status, _, error = run(capsys, "train", "--image=coffee", *given)
        assert status == 2
        assert f"What {' '.join(given)} names is no file of flags" in sentence(error)


@pytest.mark.parametrize("name", ["Python", "TensorFlow"])
def test_where_memory_is_short_a_command_ends_with_a_sentence(capsys, name):
    def draw(argv):
        if name == "Python":
            np.zeros(2**60, np.uint8)
        tf.raw_ops.Fill(dims=tf.constant([2**52], tf.int64), value=0.0)

    assert command_line.run(draw, ["main.py"]) == 1
    assert "not enough memory; ask for a smaller image" in sentence(
        capsys.readouterr().err
    )


def test_a_flagfile_may_be_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my.flags").write_text("--run_dir=~/here\n")
    argv = ["main.py", "train", "--flagfile=~/my.flags"]
    _, call = commands.parse(program.COMMANDS, argv, "python main.py")
    assert call.values.run_dir == f"{tmp_path}/here"


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999"])
def test_every_float_must_be_finite(capsys, text):
    count = 0
    for command, values in all_flags():
        program, _, name = command.rpartition(" ")
        for flag in [each for each in values if values[each].flag_type() == "float"]:
            count += 1
            argument = f"--{flag}={text}"
            if program:
                status = client_commands.main(["client", name, argument])
            elif command == "load_test":
                status = load_test.main(["load_test", argument])
            else:
                status = main.main(["main.py", command, argument])
            error = capsys.readouterr().err
            assert status == 2, (command, flag)
            assert flag in sentence(error)
    assert count > 30


@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", f"--noise_scale={signatures.MAX_NOISE_SCALE + 1}"],
        ["sample", f"--height={10**400}"],
        ["sample", f"--width={10**12}"],
        ["sample", "--scale_h=1e300"],
        ["sample", f"--seed={10**30}"],
        ["super_resolve", "--factor=17"],
        ["train", "--image=coffee", f"--max_size={10**400}"],
        ["train", "--image=coffee", f"--min_size={10**12}"],
        ["train", "--image=coffee", f"--steps={10**30}"],
        ["train", "--image=coffee", f"--seed={2**31}"],
    ],
)
def test_numbers_beyond_all_reason_are_one_sentence(capsys, tmp_path, arguments):
    command, *rest = arguments
    status, _, error = run(capsys, command, f"--run_dir={tmp_path / 'run'}", *rest)
    assert status == 2
    assert rest[-1].partition("=")[0][2:] in sentence(error)
    assert list(tmp_path.iterdir()) == []


def test_the_noise_scale_ends_where_that_of_a_server_does(finished, tmp_path, capsys):
    status, out, _ = run(
        capsys,
        "sample",
        f"--run_dir={finished}",
        f"--output_dir={tmp_path / 'out'}",
        f"--noise_scale={signatures.MAX_NOISE_SCALE}",
        "--num_samples=1",
    )
    assert status == 0
    assert client.MAX_NOISE_SCALE == signatures.MAX_NOISE_SCALE


def test_errors_end_in_one_sentence_unless_they_are_the_programs(capsys, monkeypatch):
    def told(error):
        def command(argv):
            raise error

        return command_line.run(command, ["program"]), capsys.readouterr().err

    status, error = told(OSError(errno.ENOSPC, "No space left on device", "a/b"))
    assert status == 1
    assert sentence(error) == "error: a/b: No space left on device; free some space.\n"
    status, error = told(PermissionError(errno.EACCES, "Permission denied", "a\nb\x1b"))
    assert status == 1
    assert r"a\nb\x1b: Permission denied" in sentence(error)
    assert "free some space" not in error
    assert told(UserError("a\x1b[31m")) == (1, "error: a\\x1b[31m\n")
    for fault in (OSError("a bug"), FileNotFoundError(errno.ENOENT, "x", "y")):
        with pytest.raises(type(fault)):
            told(fault)


def test_log_lines_hold_no_control_characters():
    record = logging.LogRecord("n", 20, "f", 1, "%s is read", ("a\x1b[2J\nb",), None)
    formatted = command_line.Formatter("%(message)s").format(record)
    assert formatted == r"a\x1b[2J\nb is read"


def unread():
    """The end of a pipe whose reader has left."""
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "wb")


def start(*arguments, **options):
    environment = {**os.environ, **options.pop("environment", {})}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], env=environment, cwd=ROOT, **options
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["main.py"],
        ["main.py", "train", "--help"],
        ["-m", "export.client", "sample", "--help"],
        ["tests/benchmarks/load_test.py", "--help"],
    ],
)
def test_a_reader_may_leave(arguments):
    with unread() as stdout:
        done = start(*arguments, stdout=stdout, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")


def test_files_are_written_whether_or_not_anyone_listens(finished, tmp_path):
    command = ["main.py", "sample", f"--run_dir={finished}", "--num_samples=3"]
    with unread() as stream:
        done = start(*command, f"--output_dir={tmp_path}", stdout=stream, stderr=stream)
    assert done.returncode == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        *(f"seed_{seed:06d}.png" for seed in range(3)),
        "contact_sheet.png",
        "call.json",
    }


def test_a_check_goes_on_without_a_reader():
    """By its lines alone: all of the checks take half a minute."""
    script = "from export import verify; [verify._say(line) for line in 'abc']"
    with unread() as stdout:
        done = start("-c", script, stdout=stdout, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux")
def test_output_that_does_not_fit_is_one_sentence():
    with open("/dev/full", "wb") as full:
        done = start("main.py", stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "standard output: No space left on device" in sentence(done.stderr)


def test_names_that_a_terminal_cannot_show_end_no_command(finished, tmp_path):
    output = tmp_path / os.fsdecode(b"caf\xc3\xa9-\xff\x1b[2J\n")
    done = start(
        "main.py",
        "sample",
        f"--run_dir={finished}",
        f"--output_dir={output}",
        "--num_samples=1",
        capture_output=True,
        text=True,
        environment={"PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0, done.stderr
    assert (output / "call.json").exists()
    (line,) = [each for each in done.stdout.splitlines() if "Wrote" in each]
    assert rf"Wrote {tmp_path}/caf\xe9-\udcff\x1b[2J\n; see" in line


def test_a_removed_working_folder_is_one_sentence(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    script = f"cd {folder} && rmdir {folder} && exec {sys.executable} {ROOT}/main.py"
    done = subprocess.run(
        ["sh", "-c", f"{script} train --image=coffee"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "working folder was removed" in sentence(done.stderr)


def test_a_call_keeps_paths_that_lead_back(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    status, out, _ = run(
        capsys,
        "sample",
        f"--run_dir={finished}",
        "--output_dir=~/out",
        "--num_samples=2",
        "--noise_scale=0",
    )
    assert status == 0
    assert not pathlib.Path("~").exists()
    call = json.loads((tmp_path / "out" / "call.json").read_text())
    assert call["arguments"]["output_dir"] == str(tmp_path / "out")
    # The same pictures for different seeds are a reason to say why.
    assert re.search("alike.*--noise_scale=0", out)
