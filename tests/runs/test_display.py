"""What a person sees of a run while it trains, where that cannot be written."""

import contextlib
import logging
import resource
import tempfile

import numpy as np
import tensorflow as tf

from singan_tf import config
from singan_tf.runs.display import Monitor
from singan_tf.runs.folder import RunFolder
from singan_tf.runs.tables import LOSS_COLUMNS

STEPS = 400


@contextlib.contextmanager
def files_of_at_most(size):
    """As a disk that is full: no file may have more bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_events_that_cannot_be_written_are_told_once_and_stop_nothing(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    settings = config.from_settings({"steps": STEPS, "log_steps": 20})
    watch = Monitor(settings, [(24, 30)], RunFolder(tmp_path))
    image = tf.constant(np.random.default_rng(0).uniform(-1, 1, [1, 24, 30, 3]))
    image = tf.cast(image, tf.float32)
    with files_of_at_most(2048):
        watch.start_scale(0, 0)
        for step in range(STEPS):
            watch.step(0, step, tf.zeros([len(LOSS_COLUMNS)]))
        watch.finish_scale(0, [image], image, image)
        watch.close()
    (told,) = caplog.messages
    assert f"{tmp_path / 'events'} cannot be written" in told and "\n" not in told
    assert len(RunFolder(tmp_path).timings(0)) == STEPS // 20
    assert len(RunFolder(tmp_path).metric(0).points) == 1


class Unclosable:
    """In place of a writer on a disk that fails only at the end."""

    def close(self):
        raise tf.errors.ResourceExhaustedError(
            None, None, "events.v2; No space left on device"
        )


def test_events_that_cannot_be_closed_are_told_and_leave_nothing_behind(
    tmp_path, monkeypatch, caplog
):
    """In a folder whose name TensorFlow misreads: it gets a link to it meanwhile."""
    (tmp_path / "links").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "links"))
    caplog.set_level(logging.WARNING)
    watch = Monitor(config.Config(), [(24, 30)], RunFolder(tmp_path / "run[1]"))
    assert list((tmp_path / "links").iterdir())
    watch._writer = Unclosable()
    watch.close()
    (told,) = caplog.messages
    assert "run[1]/events cannot be written (No space left on device)" in told
    assert not list((tmp_path / "links").iterdir())
