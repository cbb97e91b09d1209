"""By a stand-in for TensorFlow, which says what it is told to."""

import os
import subprocess
import sys

import pytest
from helpers import ROOT

NOISE = """WARNING: All log messages before absl::InitializeLog() is called are written
I0000 00:00:1795601843.151745    1929 port.cc:153] oneDNN custom operations are on.
E0000 00:00:1795601843.152025    1929 cuda_dnn.cc:31] Unable to register cuDNN.
2026-11-25 10:08:10.972845: W tensorflow/py_utils.cc:38] Could not find TensorRT
To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow.
"""
FATAL = "F0000 00:00:1795601843.2  19 cpu_feature_guard.cc:40] compiled to use AVX\n"


def imported(tmp_path, body, after="", environment=()):
    """Status and standard error of a process that imports it."""
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text(f"import os\n{body}")
    script = f"""
import os, sys
sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]
from singan_tf.cli import program
program.set_up_process()
import tensorflow
assert tensorflow.__spec__.loader.path == tensorflow.__file__
{after}
"""
    process = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, **dict(environment)},
    )
    return process.returncode, process.stderr


def say(text):
    return f"os.write(2, {text.encode()!r})\n"


def test_what_tensorflow_tells_of_itself_is_dropped(tmp_path):
    status, error = imported(tmp_path, say(NOISE))
    assert (status, error) == (0, "")


def test_what_else_is_said_meanwhile_and_afterwards_is_seen(tmp_path):
    body = (
        say("Illegal something\n" + NOISE) + "import sys\nprint('p', file=sys.stderr)"
    )
    status, error = imported(tmp_path, body, "os.write(2, b'I0000 00:00:1 later')")
    assert status == 0
    assert error.replace("p\n", "") == "Illegal something\nI0000 00:00:1 later"
    assert "p\n" in error


@pytest.mark.parametrize("end", ["os.abort()", "os.kill(os.getpid(), 9)"])
def test_the_last_words_of_an_import_that_aborts_are_seen(tmp_path, end):
    status, error = imported(tmp_path, say(NOISE + FATAL) + end)
    assert status < 0
    assert error == FATAL


def test_an_import_that_fails_says_why(tmp_path):
    status, error = imported(tmp_path, "raise ImportError('libcudart is missing')")
    assert status == 1
    assert error.endswith("ImportError: libcudart is missing\n")


def test_who_asks_for_the_log_gets_it(tmp_path):
    asked = {"TF_CPP_MIN_LOG_LEVEL": "0"}
    assert imported(tmp_path, say(NOISE), environment=asked.items()) == (0, NOISE)


def test_the_tensorflow_that_is_installed_is_quiet():
    script = (
        "from singan_tf.cli import program; program.set_up_process();"
        "from singan_tf.model import networks; import tensorflow as tf;"
        "print(tf.reduce_sum([1.0, 2.0]).numpy())"
    )
    process = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "3.0\n", "")
