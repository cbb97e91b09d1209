import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf
from test_training import TINY, assert_same_run

from singan_tf import checkpoint, config, stages
from singan_tf.errors import UserError
from singan_tf.singan import SinGAN

ROOT = pathlib.Path(__file__).parent.parent
PHOTOGRAPH = checkpoint.Photograph("a.png", 24, 30, "0" * 64)
CONFIG = config.from_settings(TINY)

# Trains in a process that kills itself (SIGKILL, no clean-up) at the n-th event of a
# kind: before a file is renamed into place, after it is, or with a checkpoint torn in
# the middle.
KILLED_TRAINING = textwrap.dedent(
    """
    import os, pathlib, signal, sys
    import tensorflow as tf
    sys.path[:0] = [".", "tests"]
    kind, count, run_dir = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])

    def die_at(event):
        global count
        if kind == event:
            count -= 1
            if count == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def replace(source, target, replace=os.replace):
        die_at("before a rename of " + pathlib.Path(target).name)
        replace(source, target)
        die_at("after a rename of " + pathlib.Path(target).name)

    def write(self, path, write=tf.train.Checkpoint.write):
        result = write(self, path)
        if kind == "torn checkpoint" and count == 1:
            data = pathlib.Path(path + ".data-00000-of-00001")
            data.write_bytes(data.read_bytes()[:100])
        die_at("torn checkpoint")
        return result

    os.replace, tf.train.Checkpoint.write = replace, write
    from test_training import train
    from singan_tf import images
    tf.config.experimental.enable_op_determinism()
    photograph = images.read(images.resolve("coffee"))[:, 100:124, 200:230]
    train(photograph, run_dir, checkpoint_seconds=0.0)
    """
)


def train_and_die(kind, count, run_dir):
    process = subprocess.run(
        [sys.executable, "-c", KILLED_TRAINING, kind, str(count), run_dir],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return process.returncode, process.stderr


def test_a_run_killed_again_and_again_ends_as_an_uninterrupted_one(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    status, error = train_and_die("never", 0, whole)
    assert status == 0, error
    for kind, count in (
        ("before a rename of config.json", 1),
        ("after a rename of config.json", 1),
        ("before a rename of losses.csv", 2),
        ("torn checkpoint", 2),
        ("before a rename of state.json", 1),
        ("after a rename of fake.png", 1),
        ("after a rename of state.json", 1),
        ("torn checkpoint", 3),
        ("before a rename of samples.png", 1),
    ):
        status, error = train_and_die(kind, count, cut)
        assert status == -signal.SIGKILL, (kind, error)
    status, error = train_and_die("never", 0, cut)
    assert status == 0, error
    assert_same_run(whole, cut)
    for path in whole.rglob("*.png"):
        assert path.read_bytes() == (cut / path.relative_to(whole)).read_bytes()
    left = {path.name for path in cut.rglob("*") if path.is_file()}
    assert left - {path.name for path in whole.rglob("*") if path.is_file()} <= {
        path.name for path in (cut / "events").iterdir()
    }


def saved_run(run_dir):
    """A finished run of untrained networks."""
    with checkpoint.open_run(run_dir, CONFIG, PHOTOGRAPH, overwrite=False):
        sizes = checkpoint.run_scales(CONFIG, PHOTOGRAPH).sizes
        singan = SinGAN(sizes, 3)
        for scale in range(len(sizes)):
            singan.stages.append(stages.build_convolutional_stage(CONFIG, scale))
            if scale == 0:
                singan.set_reconstruction_noise(12)
            objects = checkpoint.model_objects(singan, scale)
            losses = np.full([4, 5], scale / 3, np.float32)
            checkpoint.save(run_dir, scale, objects, losses, finished=True)
    return singan


def test_a_run_comes_back_as_it_was_saved(tmp_path):
    singan = saved_run(tmp_path)
    loaded, settings = checkpoint.load(tmp_path)
    assert settings == CONFIG
    np.testing.assert_array_equal(loaded.sample([3, 4]), singan.sample([3, 4]))
    np.testing.assert_array_equal(loaded.reconstruct(), singan.reconstruct())
    assert not checkpoint.is_finished(tmp_path, 2)
    (tmp_path / "samples.png").touch()
    assert checkpoint.is_finished(tmp_path, 2)
    state = checkpoint.read_state(tmp_path, 1)
    assert state.step == 4 and state.finished
    losses = checkpoint.read_losses(tmp_path, 1, state)
    np.testing.assert_array_equal(losses, np.full([4, 5], 1 / 3, np.float32))


def test_saving_again_leaves_one_checkpoint(tmp_path):
    singan = saved_run(tmp_path)
    objects = checkpoint.model_objects(singan, 0)
    checkpoint.save(tmp_path, 0, objects, np.zeros([9, 5], np.float32), finished=False)
    names = sorted(path.name for path in checkpoint.scale_dir(tmp_path, 0).iterdir())
    assert names == [
        "losses.csv",
        "state.json",
        "step-000009.data-00000-of-00001",
        "step-000009.index",
    ]


def test_losses_beyond_the_state_are_dropped_and_missing_ones_are_damage(tmp_path):
    saved_run(tmp_path)
    state = checkpoint.read_state(tmp_path, 0)
    assert len(checkpoint.read_losses(tmp_path, 0, state._replace(step=2))) == 2
    with pytest.raises(UserError, match="damaged.*has 4 steps"):
        checkpoint.read_losses(tmp_path, 0, state._replace(step=5))
    path = checkpoint.scale_dir(tmp_path, 0) / "losses.csv"
    path.write_text("step,a\n0,spam\n")
    with pytest.raises(UserError, match="damaged.*losses.csv cannot be read"):
        checkpoint.read_losses(tmp_path, 0, state)


def test_a_full_disk_is_one_sentence_and_keeps_the_last_state(tmp_path, monkeypatch):
    singan = saved_run(tmp_path)
    before = checkpoint.read_state(tmp_path, 0)

    def full(self, path):
        raise tf.errors.ResourceExhaustedError(None, None, f"{path}; No space left on")

    monkeypatch.setattr(tf.train.Checkpoint, "write", full)
    with pytest.raises(UserError, match=r"\(no space left\); free some space"):
        objects = checkpoint.model_objects(singan, 0)
        checkpoint.save(tmp_path, 0, objects, np.zeros([9, 5], np.float32), True)
    assert checkpoint.read_state(tmp_path, 0) == before


def test_a_checkpoint_of_other_networks_is_damage(tmp_path):
    saved_run(tmp_path)
    wider = config.from_settings({**TINY, "width": 8})
    stage = stages.build_convolutional_stage(wider, 1)
    state = checkpoint.read_state(tmp_path, 1)
    with pytest.raises(UserError, match="damaged") as error:
        checkpoint.restore(tmp_path, 1, state, {"stage": stage})
    assert "\n" not in str(error.value)


def test_config_json_tells_the_whole_configuration_and_the_photograph(tmp_path):
    saved_run(tmp_path)
    data = json.loads((tmp_path / "config.json").read_text())
    assert data["image"] == PHOTOGRAPH._asdict()
    assert data["version"]
    names = {name for section in data["config"].values() for name in section}
    assert names == {field.name for field in config.settings()}


def test_settings_of_the_machine_may_change_on_resumption(tmp_path):
    saved_run(tmp_path)
    other = config.from_settings({**TINY, "checkpoint_seconds": 5.0, "log_steps": 7})
    checkpoint.open_run(tmp_path, other, PHOTOGRAPH, overwrite=False).close()


def test_two_openings_of_a_run_exclude_each_other(tmp_path):
    with checkpoint.open_run(tmp_path / "run", CONFIG, PHOTOGRAPH, overwrite=False):
        with pytest.raises(UserError, match="Another process is training"):
            checkpoint.open_run(tmp_path / "run", CONFIG, PHOTOGRAPH, overwrite=True)
    checkpoint.open_run(tmp_path / "run", CONFIG, PHOTOGRAPH, overwrite=False).close()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        checkpoint.open_run(tmp_path / "file" / "run", CONFIG, PHOTOGRAPH, False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_state_is_damage(tmp_path):
    saved_run(tmp_path)
    path = checkpoint.scale_dir(tmp_path, 0) / "state.json"
    path.chmod(0)
    with pytest.raises(UserError, match="damaged"):
        checkpoint.read_state(tmp_path, 0)


def test_the_pyramid_is_written_as_pictures(tmp_path):
    reals = [tf.zeros([1, 4, 5, 3]), tf.ones([1, 6, 8, 3])]
    checkpoint.write_pyramid(tmp_path, reals)
    assert [p.name for p in sorted((tmp_path / "pyramid").iterdir())] == [
        "00.png",
        "01.png",
    ]
