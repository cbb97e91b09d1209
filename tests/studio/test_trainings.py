"""Trainings that the studio starts, with commands that only pretend to train."""

import sys
import threading
import time

import pytest
from helpers import contents

from singan_tf.errors import UserError
from singan_tf.studio.trainings import Trainings

# Says that it has stopped a while before it ends, as a training does.
SLOW_TO_END = """
import signal, sys, time
def stop(*_):
    print("Stopped", flush=True)
    time.sleep(1)
    sys.exit(130)
signal.signal(signal.SIGTERM, stop)
print("begun", flush=True)
time.sleep(60)
"""


@pytest.fixture
def trainings(tmp_path):
    found = Trainings(tmp_path, lambda *_: [sys.executable, "-c", SLOW_TO_END])
    yield found
    found.close()


def wait_for(log, text):
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_text() == text):
        assert time.monotonic() < deadline, log.exists() and log.read_text()
        time.sleep(0.01)


def test_what_is_still_stopping_goes_on_when_asked_to(trainings, tmp_path):
    log = tmp_path / "run.log"
    trainings.start("coffee", "run", "smoke")
    wait_for(log, "begun\n")
    stopping = threading.Thread(target=trainings.stop, args=["run"])
    stopping.start()
    wait_for(log, "begun\nStopped\n")
    trainings.go_on("run")
    stopping.join()
    wait_for(log, "begun\nStopped\nbegun\n")
    assert trainings.is_running("run")


def test_what_trains_is_not_begun_twice(trainings, tmp_path):
    log = tmp_path / "run.log"
    trainings.start("coffee", "run", "smoke")
    wait_for(log, "begun\n")
    trainings.go_on("run")
    trainings.stop("run")
    wait_for(log, "begun\nStopped\n")


@pytest.fixture
def ended(trainings, tmp_path):
    """The trainings with a run that was begun, and has ended unfinished."""
    trainings.start("coffee", "run", "smoke")
    wait_for(tmp_path / "run.log", "begun\n")
    trainings.stop("run")
    (tmp_path / "run").mkdir()
    return trainings


@pytest.mark.parametrize(
    "call", [("rocket", "run", "smoke"), ("coffee", "run", "quick")]
)
def test_a_name_that_has_another_run_is_refused_before_anything_is_written(
    ended, tmp_path, call
):
    before = contents(tmp_path)
    with pytest.raises(UserError, match="^There is a run named run already, .*name.$"):
        ended.start(*call)
    assert contents(tmp_path) == before and not ended.is_running("run")
    ended.go_on("run")
    wait_for(tmp_path / "run.log", "begun\nStopped\nbegun\n")


def test_the_same_call_under_the_same_name_goes_on(ended, tmp_path):
    ended.start("coffee", "run", "smoke")
    wait_for(tmp_path / "run.log", "begun\nStopped\nbegun\n")
    ended.start("coffee", "run", "smoke")
    assert ended.is_running("run")


def test_what_is_trained_now_is_nobody_elses_though_it_has_no_folder_yet(
    trainings, tmp_path
):
    trainings.start("coffee", "run", "smoke")
    with pytest.raises(UserError, match="choose another name"):
        trainings.start("rocket", "run", "smoke")
    assert trainings.is_running("run")


def test_a_run_that_was_begun_elsewhere_is_refused_and_stays(runs_dir):
    before = contents(runs_dir)
    trainings = Trainings(runs_dir, lambda *_: [sys.executable, "-c", ""])
    with pytest.raises(UserError, match="or begun elsewhere"):
        trainings.start("rocket", "rocket", "smoke")
    assert contents(runs_dir) == before


def test_what_failed_is_told_also_of_a_run_that_is_finished(runs_dir):
    trainings = Trainings(runs_dir, lambda *_: [])
    assert trainings.progress("rocket").finished
    (runs_dir / "rocket.error").write_text("There is no space left.")
    progress = trainings.progress("rocket")
    assert not progress.finished and progress.text == "There is no space left."


def test_of_a_name_without_a_run_there_is_no_progress(trainings):
    assert trainings.progress("none") is None
