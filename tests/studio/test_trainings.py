"""Trainings that the studio starts, with commands that only pretend to train."""

import sys
import threading
import time

import pytest

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
