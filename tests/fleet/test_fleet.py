"""Many photographs by main.py fleet, on Beam's local runner."""

import dataclasses
import glob
import hashlib
import importlib.util
import json
import shlex
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers import ROOT, SMOKE, contents, copied, run, sentence
from PIL import Image

from singan_tf import config, images
from singan_tf.fleet import fleet
from singan_tf.runs import pace
from singan_tf.runs.folder import RunFolder

# One scale is trained, which takes long to begin; patches do not.
FLAGS = [SMOKE, "--steps=2", "--patch_scales=2"]
needs_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None,
    reason="needs requirements-beam.txt",
)


def call(capsys, photographs, runs_dir, *flags):
    pattern = f"--images={photographs}/**/*"
    return run(capsys, "fleet", pattern, f"--runs_dir={runs_dir}", *FLAGS, *flags)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Two of one name, one in another format, and one that is none."""
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "more").mkdir()
    for name, path in (("rocket", "a.png"), ("coffee", "more/a.png")):
        Image.open(images.resolve(name)).resize((60, 40)).save(folder / path)
    Image.open(images.resolve("chelsea")).resize((50, 40)).save(folder / "a.jpg")
    (folder / "torn.png").write_bytes((folder / "a.png").read_bytes()[:500])
    return folder


@pytest.fixture(scope="module")
def trained(photographs, tmp_path_factory):
    """What the first call did, and where."""
    runs_dir = tmp_path_factory.mktemp("fleet") / "runs"
    done = subprocess.run(
        command(photographs, runs_dir), capture_output=True, text=True
    )
    return done, runs_dir


def command(photographs, runs_dir, *flags):
    arguments = [f"--images={photographs}/**/*", f"--runs_dir={runs_dir}", *FLAGS]
    main = [sys.executable, str(ROOT / "main.py"), "fleet"]
    return [*main, *arguments, "--workers=2", *flags]


@pytest.mark.cluster
@needs_beam
def test_each_photograph_has_a_run_and_the_torn_one_is_told(trained, photographs):
    done, runs_dir = trained
    assert done.returncode == 1
    assert "1 of 4 photographs could not be trained" in sentence(done.stderr)
    assert "4 photographs, of which 0 are finished." in done.stdout
    assert "4 of 4 done" in done.stdout and " left." in done.stdout
    assert f"3 trained in {runs_dir}, 1 failed." in done.stdout
    (listed,) = [line for line in done.stdout.splitlines() if line.startswith("  ")]
    assert f"{photographs}/torn.png: " in listed and "cut short" in listed
    for name in ("a.png", "more/a.png", "a.jpg"):
        assert pace.share_done(RunFolder(runs_dir / name)) == 1
        _, facts = RunFolder(runs_dir / name).read()
        assert facts.sha256 == images.sha256(photographs / name)


@pytest.mark.cluster
@needs_beam
def test_the_same_again_trains_nothing_again(trained, photographs, capsys):
    _, runs_dir = trained
    folders = [runs_dir / name for name in ("a.png", "more", "a.jpg")]
    before = [contents(folder) for folder in folders]
    status, out, error = call(capsys, photographs, runs_dir)
    assert status == 1 and "1 of 4" in sentence(error)
    assert "of which 3 are finished" in out and out.count("Started") == 1
    assert [contents(folder) for folder in folders] == before


@pytest.mark.cluster
@needs_beam
def test_one_that_is_put_right_is_all_that_is_left(trained, photographs, capsys):
    _, runs_dir = trained
    mended = photographs.parent / "mended"
    runs = runs_dir.parent / "mended"
    shutil.copytree(photographs, mended)
    shutil.copytree(runs_dir, runs)
    shutil.copy(mended / "a.png", mended / "torn.png")
    status, out, error = call(capsys, mended, runs)
    assert (status, error) == (0, "")
    assert "1 trained" in out and pace.share_done(RunFolder(runs / "torn.png")) == 1
    assert call(capsys, mended, runs)[0] == 0


def test_a_pattern_that_finds_nothing_says_what_would(photographs, tmp_path, capsys):
    folder = tmp_path / "seen [2020]"
    folder.mkdir()
    shutil.copy(photographs / "a.png", folder / "a [1].png")
    for given in (folder, folder / "*.png", folder / "a [1].pn?"):
        arguments = [f"--images={given}", f"--runs_dir={tmp_path / 'runs'}"]
        status, _, error = run(capsys, "fleet", *arguments)
        assert status == 1
        words = [
            word for word in shlex.split(sentence(error)) if word.startswith("images=")
        ]
        pattern = words[-1].partition("=")[2].rstrip(".")
        assert glob.glob(pattern) == [str(folder / "a [1].png")]
    assert "brackets" in error


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(photographs, tmp_path):
    folder = tmp_path / "seen [2020]"
    folder.mkdir()
    for name in ("a[1].png", "a1.png"):
        shutil.copy(photographs / "a.png", folder / name)
    given = str(folder / "a[1].png")
    plan = fleet.Plan(given, tmp_path / "runs", config.Config(), None, 1, "")
    assert fleet._folders(plan) == {folder / "a[1].png": tmp_path / "runs" / "a[1].png"}


@pytest.mark.cluster
@needs_beam
def test_other_settings_and_other_photographs_are_not_taken_for_finished(
    trained, photographs, capsys
):
    _, runs_dir = trained
    status, out, error = call(capsys, photographs, runs_dir, "--seed=9")
    assert status == 1 and "4 of 4" in sentence(error)
    assert out.count("seed: 0 -> 9") >= 3
    exchanged = photographs.parent / "exchanged"
    shutil.copytree(photographs, exchanged)
    shutil.copy(exchanged / "a.jpg", exchanged / "a.png")
    status, out, error = call(capsys, exchanged, runs_dir)
    assert status == 1 and "2 of 4" in sentence(error)
    # The exchanged ones have the names of those that were trained on.
    assert "another one that is named" in out


class Begun(Exception):
    """A process would train now."""


def is_finished(runs_dir, photograph, transparent="outside", **changes):
    """Whether a fleet of one photograph leaves its run alone.

    Args:
        runs_dir: Where it is.
        photograph: Its path.
        transparent: As of the command.
        changes: The settings that are given otherwise.
    """

    def train(photograph, folder):
        raise Begun

    found, _ = RunFolder(runs_dir / photograph.name).read()
    sections = config.to_json(found).values()
    given = {key: value for part in sections for key, value in part.items()}
    settings = config.from_settings({**given, **changes})
    plan = fleet.Plan(str(photograph), runs_dir, settings, train, 1, "", transparent)
    try:
        return fleet.run(plan) == (1, 0, {})
    except Begun:
        return False


@pytest.fixture
def runs_dir(finished, photograph, tmp_path):
    copied(finished, tmp_path / "runs" / photograph.name)
    return tmp_path / "runs"


def change(runs_dir, photograph, section, **values):
    """Changes what a run notes of itself."""
    path = runs_dir / photograph.name / "config.json"
    data = json.loads(path.read_text())
    data[section].update(values)
    path.write_text(json.dumps(data))


def test_the_number_of_samples_in_an_update_counts_and_not_its_spelling(
    runs_dir, photograph
):
    assert is_finished(runs_dir, photograph)
    assert is_finished(runs_dir, photograph, global_batch_size=1)
    assert not is_finished(runs_dir, photograph, global_batch_size=2)


def test_a_run_of_other_transparent_parts_is_not_taken_for_finished(
    runs_dir, photograph, tmp_path
):
    assert is_finished(runs_dir, photograph, "white")
    layer = tmp_path / photograph.name
    pixels = np.asarray(Image.open(photograph).convert("RGBA")).copy()
    pixels[:, :20, 3] = 0
    Image.fromarray(pixels).save(layer)
    change(runs_dir, layer, "image", sha256=images.sha256(layer))
    # As if it had been trained on white.
    assert is_finished(runs_dir, layer, "white")
    assert not is_finished(runs_dir, layer, "outside")
    inside = hashlib.sha256((pixels[:, :, 3] > 127).tobytes()).hexdigest()
    change(runs_dir, layer, "image", inside_sha256=inside)
    assert not is_finished(runs_dir, layer, "white")
    assert is_finished(runs_dir, layer, "outside")


def test_a_run_of_other_weights_of_the_texture_loss_is_not_taken_for_finished(
    runs_dir, photograph, tmp_path
):
    same, copy, others = (tmp_path / name for name in ("a.h5", "b.h5", "c.h5"))
    same.write_bytes(b"weights")
    copy.write_bytes(b"weights")
    others.write_bytes(b"others")
    found, _ = RunFolder(runs_dir / photograph.name).read()
    training = {**config.to_json(found)["training"], "texture_weight": 0.1}
    change(runs_dir, photograph, "config", training=training)
    runtime = dataclasses.asdict(found.runtime) | {"vgg_weights": str(same)}
    change(runs_dir, photograph, "config", runtime=runtime)
    known_by = hashlib.sha256(b"weights").hexdigest()
    change(runs_dir, photograph, "circumstances", vgg_sha256=known_by)
    assert is_finished(runs_dir, photograph)
    assert is_finished(runs_dir, photograph, vgg_weights=str(copy))
    assert not is_finished(runs_dir, photograph, vgg_weights=str(others))


@pytest.mark.cluster
@needs_beam
def test_a_stopped_fleet_stops_its_runs_and_goes_on(photographs, tmp_path, capsys):
    """With few enough steps to end once it goes on."""
    folder = tmp_path / "one"
    folder.mkdir()
    shutil.copy(photographs / "a.png", folder)
    flags = ["--steps=200", "--width=2", "--max_size=30", "--min_size=20"]
    flags += ["--num_scales=1", "--patch_scales=0"]
    process = subprocess.Popen(
        command(folder, tmp_path / "runs", *flags), stderr=subprocess.PIPE, text=True
    )
    run_dir = tmp_path / "runs" / "a.png"
    deadline = time.monotonic() + 600
    while not RunFolder(run_dir).timings(0) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=600)
    assert process.returncode == 130 and "go on with: python" in error
    assert 0 < RunFolder(run_dir).state(0).step < 200
    assert 0 < pace.share_done(RunFolder(run_dir)) < 1
    assert call(capsys, folder, tmp_path / "runs", *flags)[0] == 0
    assert pace.share_done(RunFolder(run_dir)) == 1
    log = run_dir.with_name("a.png.log").read_text()
    assert "Stopped: all is saved" in log


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("photos/*.jpg", ["b.jpg", "c.jpg"]),
        ("photos/**/*.jpg", ["a/b.jpg", "b.jpg", "c.jpg"]),
        ("photos/?/b.jpg", ["a/b.jpg"]),
        ("photos/b.jpg", ["b.jpg"]),
        ("./*/*.jpg", ["photos/b.jpg", "photos/c.jpg"]),
    ],
)
def test_runs_are_named_by_the_path_below_the_wildcards(
    tmp_path, monkeypatch, pattern, expected
):
    (tmp_path / "photos" / "a").mkdir(parents=True)
    for name in ("a/b.jpg", "b.jpg", "c.jpg", "d.txt"):
        (tmp_path / "photos" / name).touch()
    monkeypatch.chdir(tmp_path)
    plan = fleet.Plan(pattern, tmp_path / "runs", config.Config(), None, 1, "")
    found = [path.relative_to(plan.runs_dir) for path in fleet._folders(plan).values()]
    assert [str(path) for path in found] == expected


@pytest.mark.parametrize(
    ("flags", "status", "words"),
    [
        ([], 2, "--images is missing"),
        (["--images=absent/*"], 2, "--runs_dir is missing"),
        (["--images=absent/*", f"--runs_dir={__file__}"], 1, "is a file; name a"),
        (["--images=absent/*", "--runs_dir=r"], 1, "images=absent/* finds no file"),
        (
            ["--images=*", "--runs_dir=r", "--strategy=multi_worker"],
            2,
            "for one run on several machines",
        ),
        (["--images=*", "--runs_dir=r", "--width=0"], 2, "--width=0"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(
    capsys, tmp_path, monkeypatch, flags, status, words
):
    monkeypatch.chdir(tmp_path)
    found, _, error = run(capsys, "fleet", *flags)
    assert found == status and words in sentence(error)
    assert not list(tmp_path.iterdir())
