import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf
from run_folders import TINY, assert_same_run

from singan_tf import config
from singan_tf.errors import Damaged, UserError
from singan_tf.model import stages
from singan_tf.model.singan import SinGAN
from singan_tf.runs import loading
from singan_tf.runs.checkpoints import ScaleState
from singan_tf.runs.folder import (
    Circumstances,
    Photograph,
    RunFolder,
    model_objects,
    run_scales,
)

ROOT = pathlib.Path(__file__).parents[2]
PHOTOGRAPH = Photograph("a.png", 24, 30, "0" * 64)
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
    from run_folders import train
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


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_as_an_uninterrupted_one(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    status, error = train_and_die("never", 0, whole)
    assert status == 0, error
    for kind, count in (
        ("before a rename of config.json", 1),
        ("before a rename of losses.csv", 2),
        ("torn checkpoint", 2),
        ("before a rename of state.json", 1),
        ("after a rename of state.json", 1),
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
    with RunFolder(run_dir).open(CONFIG, PHOTOGRAPH):
        sizes = run_scales(CONFIG, PHOTOGRAPH).sizes
        singan = SinGAN(sizes, 3)
        for scale in range(len(sizes)):
            singan.stages.append(stages.build_convolutional_stage(CONFIG, scale))
            if scale == 0:
                singan.set_reconstruction_noise(12)
            objects = model_objects(singan, scale)
            losses = np.full([4, 5], scale / 3, np.float32)
            RunFolder(run_dir).save(scale, objects, losses, finished=True)
    return singan


def test_a_run_comes_back_as_it_was_saved(tmp_path):
    singan = saved_run(tmp_path)
    loaded, settings = loading.load(RunFolder(tmp_path))
    assert settings == CONFIG
    np.testing.assert_array_equal(loaded.sample([3, 4]), singan.sample([3, 4]))
    np.testing.assert_array_equal(loaded.reconstruct(), singan.reconstruct())
    assert not RunFolder(tmp_path).is_finished(2)
    (tmp_path / "samples.png").touch()
    assert RunFolder(tmp_path).is_finished(2)
    state = RunFolder(tmp_path).state(1)
    assert state.step == 4 and state.finished
    losses = RunFolder(tmp_path).losses(1, state)
    np.testing.assert_array_equal(losses, np.full([4, 5], 1 / 3, np.float32))


def save_again(singan, run_dir, steps, finished=False):
    """Stores scale 0 anew, with another reconstruction noise."""
    singan.set_reconstruction_noise(steps)
    objects = model_objects(singan, 0)
    losses = np.zeros([steps, 5], np.float32)
    RunFolder(run_dir).save(0, objects, losses, finished)


def checkpoints(run_dir):
    """Names of the checkpoints of scale 0."""
    folder = RunFolder(run_dir).scale(0)
    return sorted(path.stem for path in folder.glob("step-*.index"))


def test_saving_again_leaves_the_last_two_checkpoints(tmp_path):
    singan = saved_run(tmp_path)
    save_again(singan, tmp_path, 9)
    assert checkpoints(tmp_path) == ["step-000004-finished", "step-000009"]
    save_again(singan, tmp_path, 12)
    names = sorted(path.name for path in RunFolder(tmp_path).scale(0).iterdir())
    assert names == [
        "losses.csv",
        "state.json",
        "step-000009.data-00000-of-00001",
        "step-000009.index",
        "step-000012.data-00000-of-00001",
        "step-000012.index",
    ]


def recorded(monkeypatch, folder):
    """Everything that is done to the names and the disk in a folder, as it happens."""
    events = []

    def record(module, name, described):
        function = getattr(module, name)

        def recording(*arguments, **options):
            result = function(*arguments, **options)
            events.append((name, *described(*arguments)))
            return result

        monkeypatch.setattr(module, name, recording)

    def relative(path):
        return os.path.relpath(path, folder)

    record(
        os, "fsync", lambda handle: [relative(os.readlink(f"/proc/self/fd/{handle}"))]
    )
    record(os, "replace", lambda source, target: [relative(source), relative(target)])
    record(pathlib.Path, "rename", lambda path, to: [relative(path), relative(to)])
    record(pathlib.Path, "unlink", lambda path, *_: [relative(path)])
    record(tf.train.Checkpoint, "write", lambda _, prefix: [relative(prefix)])
    return events


def test_a_checkpoint_is_on_the_disk_before_its_name_and_the_one_before_stays(
    tmp_path, monkeypatch
):
    singan = saved_run(tmp_path)
    save_again(singan, tmp_path, 9)
    folder = RunFolder(tmp_path).scale(0)
    events = recorded(monkeypatch, folder)
    save_again(singan, tmp_path, 12)
    assert events == [
        ("unlink", ".losses.csv.tmp"),
        ("fsync", ".losses.csv.tmp"),
        ("replace", ".losses.csv.tmp", "losses.csv"),
        ("fsync", "."),
        ("write", "step-000012"),
        ("fsync", "step-000012.index"),
        ("fsync", "step-000012.data-00000-of-00001"),
        ("fsync", "."),
        *[("unlink", f"step-000004-finished{end}") for end in ends(events)],
        ("unlink", ".state.json.tmp"),
        ("fsync", ".state.json.tmp"),
        ("replace", ".state.json.tmp", "state.json"),
        ("fsync", "."),
    ]


def ends(events):
    """The endings of the files of a deleted checkpoint, in the order of the folder."""
    deleted = [e[1] for e in events if e[0] == "unlink" and e[1].startswith("step-")]
    found = [name.partition("finished")[2] for name in deleted]
    assert sorted(found) == [".data-00000-of-00001", ".index"]
    return found


def tear(path):
    path.write_bytes(path.read_bytes()[:99])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES = [
    ("step-000009.data-00000-of-00001", tear),
    ("step-000009.data-00000-of-00001", flip),
    ("step-000009.data-00000-of-00001", lambda path: path.write_bytes(b"")),
    ("step-000009.data-00000-of-00001", pathlib.Path.unlink),
    ("step-000009.index", tear),
    ("step-000009.index", flip),
    ("step-000009.index", lambda path: path.write_bytes(b"")),
    ("step-000009.index", pathlib.Path.unlink),
    ("state.json", lambda path: path.write_text("")),
    ("state.json", lambda path: path.write_text('{"step": "9"}')),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tmp_path, caplog, name, damage
):
    singan = saved_run(tmp_path)
    before = singan.reconstruction_noise.numpy()
    save_again(singan, tmp_path, 9)
    damage(RunFolder(tmp_path).scale(0) / name)
    state = RunFolder(tmp_path).sound_state(0)
    if name == "state.json":
        # The checkpoints themselves say which is the newest.
        assert state == ScaleState.at(9, False)
        before = singan.reconstruction_noise.numpy()
    else:
        assert state == ScaleState.at(4, True)
    (told,) = caplog.messages
    assert "is damaged: " in told and f"checkpoint of step {state.step}" in told
    RunFolder(tmp_path).restore(0, state, model_objects(singan, 0))
    np.testing.assert_array_equal(singan.reconstruction_noise, before)
    assert RunFolder(tmp_path).state(0) == state
    # What is damaged goes with the next checkpoint, and what was gone on from stays.
    save_again(singan, tmp_path, 12)
    kept = ["step-000012", state.checkpoint]
    assert checkpoints(tmp_path) == sorted(kept)


def test_that_patches_won_is_in_the_name_of_the_checkpoint(tmp_path):
    singan = saved_run(tmp_path)
    folder = RunFolder(tmp_path)
    assert not folder.state(0).patches
    losses = np.zeros([9, 5], np.float32)
    folder.save(0, model_objects(singan, 0), losses, finished=True, patches=True)
    state = folder.state(0)
    assert state.patches and state == ScaleState.at(9, True, patches=True)
    # What the state says is said again where it is damaged.
    tear(folder.scale(0) / "state.json")
    assert folder.sound_state(0) == state


def test_patches_cannot_have_won_before_the_end(tmp_path):
    saved_run(tmp_path)
    path = RunFolder(tmp_path).scale(0) / "state.json"
    path.write_text(
        json.dumps({"step": 4, "finished": False, "checkpoint": "step-000004-patches"})
    )
    with pytest.raises(Damaged, match="no checkpoint of step 4"):
        RunFolder(tmp_path).state(0)


def test_damage_without_a_checkpoint_before_never_costs_what_is_sound(tmp_path):
    saved_run(tmp_path)
    tear(RunFolder(tmp_path).scale(1) / "step-000004-finished.index")
    assert not RunFolder(tmp_path).is_finished(2)
    with pytest.raises(Damaged, match="move .*/01 away") as error:
        RunFolder(tmp_path).sound_state(1)
    assert "delete" not in str(error.value)
    with pytest.raises(Damaged, match="train command again"):
        loading.load(RunFolder(tmp_path))
    assert RunFolder(tmp_path).sound_state(0) == ScaleState.at(4, True)


def test_a_file_on_a_disk_that_is_not_mounted_is_not_damage(tmp_path):
    run_dir = tmp_path / "run"
    singan = saved_run(run_dir)
    save_again(singan, run_dir, 9, finished=True)
    (data,) = RunFolder(run_dir).scale(0).glob("step-000009*.data-*")
    away = data.rename(tmp_path / "data")
    data.symlink_to(tmp_path / "disk" / "data")
    for read in (
        lambda: RunFolder(run_dir).sound_state(0),
        lambda: loading.load(RunFolder(run_dir)),
    ):
        with pytest.raises(UserError, match="a link to .*cannot be read") as error:
            read()
        assert not isinstance(error.value, Damaged)
        assert "nothing of it is known to be damaged" in str(error.value)
    (tmp_path / "disk").mkdir()
    away.rename(tmp_path / "disk" / "data")
    assert RunFolder(run_dir).sound_state(0).step == 9


def test_no_more_open_files_is_not_damage(tmp_path):
    saved_run(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(UserError) as error:
            RunFolder(tmp_path).sound_state(0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert "cannot be read (Too many open files)" in str(error.value)
    assert not isinstance(error.value, Damaged)


def test_an_error_of_tensorflows_is_told_without_its_nodes(tmp_path, monkeypatch):
    singan = saved_run(tmp_path)

    def short_of_files(self, path):
        node = "{{function_node __wrapped__RestoreV2_dtypes_1_device_/job:a}}"
        raise tf.errors.ResourceExhaustedError(
            None, None, f"{node} {path}.index; Too many open files [Op:RestoreV2]"
        )

    monkeypatch.setattr(tf.train.Checkpoint, "read", short_of_files)
    state, objects = RunFolder(tmp_path).state(0), {"stage": singan.stages[0]}
    with pytest.raises(UserError, match=r"cannot be read \(Too many open") as error:
        RunFolder(tmp_path).restore(0, state, objects)
    assert "{{" not in str(error.value) and "Op:" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        '{"step": "4", "finished": true, "checkpoint": "step-000004-finished"}',
        '{"step": true, "finished": true, "checkpoint": "step-000001-finished"}',
        '{"step": 4.0, "finished": true, "checkpoint": "step-000004-finished"}',
        '{"step": -1, "finished": false, "checkpoint": "step--00001"}',
        '{"step": 1e999, "finished": false, "checkpoint": "step-inf"}',
        '{"step": 4, "finished": 1, "checkpoint": "step-000004-finished"}',
        '{"step": 4, "finished": true, "checkpoint": "../step-000004-finished"}',
        '{"step": 4, "finished": true, "checkpoint": null}',
        '{"step": 4, "finished": true}',
        "[" * 100_000,
        "\0",
    ],
)
def test_a_state_of_other_types_is_damage(tmp_path, text):
    saved_run(tmp_path)
    (RunFolder(tmp_path).scale(0) / "state.json").write_text(text)
    with pytest.raises(Damaged, match="damaged") as error:
        RunFolder(tmp_path).state(0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("image", "height", "24"),
        ("image", "width", -3),
        ("image", "width", 10**400),
        ("image", "height", 30.5),
        ("image", "name", 7),
        ("image", "sha256", None),
        ("config.training", "steps", float("inf")),
        ("config.training", "steps", 10**400),
        ("config.training", "beta1", 10**400),
        ("config.training", "reconstruction_weight", float("nan")),
        ("config.pyramid", "min_size", "25"),
        ("config.pyramid", "min_size", True),
        ("config.adversary", "adversary", ["critic"]),
        ("config", "pyramid", 7),
        ("config", "spam", {"eggs": 1}),
        ("", "config", []),
        ("", "image", []),
    ],
)
def test_a_config_of_other_types_is_one_sentence(tmp_path, section, name, value):
    saved_run(tmp_path)
    path = tmp_path / "config.json"
    data = part = json.loads(path.read_text())
    for key in filter(None, section.split(".")):
        part = part[key]
    part[name] = value
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match="damaged or from another version") as error:
        RunFolder(tmp_path).read()
    assert "\n" not in str(error.value)


def test_losses_are_only_shown_and_never_cost_a_run(tmp_path, caplog):
    saved_run(tmp_path)
    state = RunFolder(tmp_path).state(0)
    assert len(RunFolder(tmp_path).losses(0, state._replace(step=2))) == 2
    assert not caplog.messages
    longer = RunFolder(tmp_path).losses(0, state._replace(step=5))
    assert np.isnan(longer[4]).all() and not np.isnan(longer[:4]).any()
    path = RunFolder(tmp_path).scale(0) / "losses.csv"
    for text in ("step,a\n0,spam\n", "\xff"):
        path.write_text(text, encoding="latin-1")
        assert np.isnan(RunFolder(tmp_path).losses(0, state)).all()
    path.unlink()
    assert RunFolder(tmp_path).losses(0, state).shape == (4, 5)
    assert len(caplog.messages) == 4
    assert "has 4 of 5 steps" in caplog.messages[0]


# As TensorFlow takes a pattern, an escape, and no text at all.
ODD_NAMES = [
    b"[1] star",
    b"back\\slash",
    b"wild*card?",
    b"not utf-8 \xff\xfe",
    b"caf\xc3\xa9",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_run_comes_back_from_a_folder_of_any_name(tmp_path, name):
    run_dir = tmp_path / os.fsdecode(name)
    singan = saved_run(run_dir)
    loaded, _ = loading.load(RunFolder(run_dir))
    np.testing.assert_array_equal(loaded.sample([3]), singan.sample([3]))
    assert RunFolder(run_dir).sound_state(0) == ScaleState.at(4, True)


def test_a_full_disk_is_one_sentence_and_keeps_the_last_state(tmp_path, monkeypatch):
    singan = saved_run(tmp_path)
    before = RunFolder(tmp_path).state(0)

    def full(self, path):
        raise tf.errors.ResourceExhaustedError(
            None, None, f"{path}; No space left on device"
        )

    monkeypatch.setattr(tf.train.Checkpoint, "write", full)
    with pytest.raises(UserError, match=r"\(No space left on device\); mend that"):
        objects = model_objects(singan, 0)
        RunFolder(tmp_path).save(0, objects, np.zeros([9, 5], np.float32), True)
    assert RunFolder(tmp_path).state(0) == before


def test_a_checkpoint_of_other_networks_is_whole_but_of_no_use(tmp_path):
    saved_run(tmp_path)
    wider = config.from_settings({**TINY, "width": 8})
    stage = stages.build_convolutional_stage(wider, 1)
    state = RunFolder(tmp_path).state(1)
    with pytest.raises(UserError, match="is whole but not of the networks") as error:
        RunFolder(tmp_path).restore(1, state, {"stage": stage})
    assert "\n" not in str(error.value)


def test_config_json_tells_the_whole_configuration_and_the_photograph(tmp_path):
    saved_run(tmp_path)
    data = json.loads((tmp_path / "config.json").read_text())
    facts = {"name": "a.png", "height": 24, "width": 30, "sha256": "0" * 64}
    assert data["image"] == facts
    assert data["version"]
    assert data["stack"]["tensorflow"] == tf.__version__
    names = {name for section in data["config"].values() for name in section}
    assert names == {field.name for field in config.settings()}


def test_settings_of_the_machine_may_change_on_resumption(tmp_path):
    saved_run(tmp_path)
    other = config.from_settings({**TINY, "checkpoint_seconds": 5.0, "log_steps": 7})
    RunFolder(tmp_path).open(other, PHOTOGRAPH).close()


def rewrite(run_dir, **changes):
    """Changes config.json; None removes a key."""
    path = run_dir / "config.json"
    data = {**json.loads(path.read_text()), **changes}
    kept = {key: value for key, value in data.items() if value is not None}
    path.write_text(json.dumps(kept))


def test_a_run_of_a_newer_format_is_refused_before_it_is_misread(tmp_path):
    saved_run(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["format"] == 1
    rewrite(tmp_path, format=3, config=["not", "as", "today"])
    read, load = RunFolder(tmp_path).read, lambda: loading.load(RunFolder(tmp_path))
    for refused in (read, load, lambda: reopen(tmp_path)):
        with pytest.raises(UserError) as error:
            refused()
        assert str(error.value) == (
            f"{tmp_path / 'config.json'} was made by a newer version of the program; "
            "update it."
        )


@pytest.mark.parametrize("number", ["1", 1.0, -1, True, []])
def test_a_format_that_is_no_number_is_damage(tmp_path, number):
    saved_run(tmp_path)
    rewrite(tmp_path, format=number)
    with pytest.raises(UserError, match="is damaged"):
        RunFolder(tmp_path).read()


def test_a_run_without_a_format_is_read_as_the_first_version_wrote_it(tmp_path):
    saved_run(tmp_path)
    rewrite(tmp_path, format=None, circumstances=None)
    assert RunFolder(tmp_path).read() == (CONFIG, PHOTOGRAPH)
    reopen(tmp_path, batch_size=3, vgg_sha256="1" * 64)


def reopen(run_dir, settings=(), **circumstances):
    changed = config.from_settings({**TINY, **dict(settings)})
    opened = RunFolder(run_dir).open(
        changed, PHOTOGRAPH, circumstances=Circumstances(**circumstances)
    )
    opened.close()


def test_as_many_samples_in_an_update_are_the_same_run_whoever_decided(tmp_path):
    reopen(tmp_path, batch_size=2)
    reopen(tmp_path, batch_size=2)
    reopen(tmp_path, {"global_batch_size": 2}, batch_size=2)
    reopen(tmp_path)  # Where it is not known, the settings decide.
    for size, settings in ((1, {}), (4, {"global_batch_size": 4})):
        with pytest.raises(UserError, match=f"in an update: 2 -> {size}, which a "):
            reopen(tmp_path, settings, batch_size=size)
    with pytest.raises(UserError, match="global_batch_size: 0 -> 2"):
        reopen(tmp_path, {"global_batch_size": 2})


def test_a_texture_loss_of_other_weights_is_another_run(tmp_path):
    reopen(tmp_path, vgg_sha256="1" * 64)
    reopen(tmp_path, {"vgg_weights": "moved.h5"}, vgg_sha256="1" * 64)
    reopen(tmp_path)
    with pytest.raises(UserError, match="weights of the texture loss"):
        reopen(tmp_path, vgg_sha256="2" * 64)


@pytest.mark.parametrize("wrong", [{"batch_size": "2"}, {"vgg_sha256": 2}, {"x": 1}, 7])
def test_circumstances_of_other_types_are_damage(tmp_path, wrong):
    saved_run(tmp_path)
    rewrite(tmp_path, circumstances=wrong)
    with pytest.raises(UserError, match="damaged or from another version"):
        RunFolder(tmp_path).read()


def test_two_openings_of_a_run_exclude_each_other(tmp_path):
    with RunFolder(tmp_path / "run").open(CONFIG, PHOTOGRAPH):
        with pytest.raises(UserError, match="Another process is training"):
            RunFolder(tmp_path / "run").open(CONFIG, PHOTOGRAPH, overwrite=True)
    RunFolder(tmp_path / "run").open(CONFIG, PHOTOGRAPH).close()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        RunFolder(tmp_path / "file" / "run").open(CONFIG, PHOTOGRAPH, False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_state_is_told_as_that(tmp_path):
    saved_run(tmp_path)
    path = RunFolder(tmp_path).scale(0) / "state.json"
    path.chmod(0)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)"):
        RunFolder(tmp_path).state(0)


def test_the_pyramid_is_written_as_pictures(tmp_path):
    reals = [tf.zeros([1, 4, 5, 3]), tf.ones([1, 6, 8, 3])]
    RunFolder(tmp_path).write_pyramid(reals)
    assert [p.name for p in sorted((tmp_path / "pyramid").iterdir())] == [
        "00.png",
        "01.png",
    ]
