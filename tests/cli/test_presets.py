"""Presets by name, and what a run would be without training it."""

import json
import pathlib

import pytest
from absl import flags
from helpers import ROOT, run, sentence

from singan_tf import config, presets
from singan_tf.cli import flags as shared
from singan_tf.cli import many, train
from singan_tf.cli.commands import Call
from singan_tf.errors import UsageError


def settled(command, *arguments):
    """The configuration that a command reads from its flags."""
    values = flags.FlagValues()
    command.define(values)
    values(["main.py", *arguments])
    call = Call("python main.py", ["main.py", *arguments], values)
    command.check(call)
    return shared.read_config(values)


def by_files(*arguments):
    """The configuration by --flagfile alone."""
    values = flags.FlagValues()
    shared.define_settings(values)
    values(["main.py", *arguments])
    return shared.read_config(values)


def file(name):
    return f"--flagfile={ROOT / 'configs' / name}.flags"


FILES = sorted(path.stem for path in (ROOT / "configs").glob("*.flags"))


def test_there_is_a_preset_for_each_file():
    assert presets.names() == [n for n in FILES if not n.startswith("study_")]


@pytest.mark.parametrize("name", ["quik", "study_nope"])
def test_a_preset_that_does_not_exist_is_a_users_mistake(capsys, name):
    with pytest.raises(UsageError, match=f"There is no preset {name}"):
        presets.preset(name)
    status, _, error = run(capsys, "train", "--image=coffee", f"--preset={name}")
    assert status == 2 and f"There is no preset {name}" in sentence(error)


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_is_its_file(name):
    found = settled(train.TRAIN, "--image=coffee", f"--preset={name}")
    assert found == by_files(file(name)) != config.Config() or name == "paper"


@pytest.mark.parametrize("name", FILES)
def test_python_programs_get_what_the_command_reads(name):
    found = presets.preset(name)
    assert config.from_settings(found) == by_files(file(name))
    # What a preset does not choose is left to who adds settings to it.
    values = shared.read_presets([name])
    chosen = [field.name for field in config.settings() if values[field.name].present]
    assert sorted(found) == sorted(chosen)


def test_flags_count_before_presets_wherever_they_stand():
    wanted = by_files(file("smoke"), "--steps=7")
    for arguments in (["--preset=smoke", "--steps=7"], ["--steps=7", "--preset=smoke"]):
        assert settled(train.TRAIN, "--image=coffee", *arguments) == wanted
    # Also where they say what is so by default.
    given = settled(train.TRAIN, "--image=coffee", "--steps=2000", "--preset=smoke")
    assert given.training.steps == 2000


def test_of_several_presets_the_later_one_counts():
    found = settled(train.TRAIN, "--image=coffee", "--preset=small,super_resolution")
    assert found == by_files(file("small"), file("super_resolution"))
    assert settled(train.TRAIN, "--image=coffee", "--preset=small,smoke") == by_files(
        file("small"), file("smoke")
    )


def test_an_unknown_preset_is_one_sentence(capsys):
    for name, near in (("smok", "did you mean smoke?"), ("x", "one of animation, ")):
        status, _, error = run(
            capsys, "train", "--image=coffee", f"--preset=small,{name}"
        )
        assert status == 2
        assert f"There is no preset {name}: {near}" in sentence(error)


def test_the_help_lists_the_presets(capsys):
    for command in ("train", "study", "fleet"):
        _, out, _ = run(capsys, command, "--help")
        assert ", ".join(presets.names()) in " ".join(out.split())


def test_processes_of_a_fleet_get_what_a_preset_says():
    values = flags.FlagValues()
    many.FLEET.define(values)
    arguments = ["--images=*.jpg", "--runs_dir=runs", "--preset=smoke", "--width=4"]
    values(["main.py", *arguments])
    many.FLEET.check(Call("python main.py", ["main.py", *arguments], values))
    assert by_files(*shared.given_settings(values)) == by_files(
        file("smoke"), "--width=4"
    )


def test_rows_of_a_study_differ_from_budget_preset_and_flags_in_this_order():
    values = flags.FlagValues()
    many.STUDY.define(values)
    arguments = ["--name=padding", "--image=coffee", "--budget=smoke"]
    arguments += ["--preset=super_resolution", "--steps=9"]
    values(["main.py", *arguments])
    many.STUDY.check(Call("python main.py", ["main.py", *arguments], values))
    found = many.budget_settings(values, many.BUDGETS["smoke"])
    wanted = by_files(file("study_smoke"), file("super_resolution"), "--steps=9")
    assert config.from_settings(found) == wanted


def test_an_installed_package_has_its_own_presets(tmp_path, monkeypatch):
    package = tmp_path / "singan_tf"
    (package / "configs").mkdir(parents=True)
    (package / "configs" / "mine.flags").write_text("--steps=1\n")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "foreign.flags").write_text("--steps=2\n")
    folders = (tmp_path / "configs", package / "configs")
    monkeypatch.setattr(presets, "_FOLDERS", folders)
    assert presets.names() == ["mine"]
    assert presets.path("mine") == package / "configs" / "mine.flags"


@pytest.mark.parametrize(
    "settings",
    [
        ["--preset=smoke", "--noresidual", "--xla"],
        ["--preset=quick", "--max_size=64", "--min_size=12", "--steps=1"],
        ["--preset=smoke", "--steps=0:7, 1-:8", "--crop_size=0-1:0,2-:16"],
    ],
)
def test_a_dry_run_writes_nothing_and_prints_what_a_run_is(
    capsys, tmp_path, photograph, monkeypatch, settings
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "_train_opened", lambda *_: None)
    monkeypatch.setattr("singan_tf.reports.report.write", lambda *_: None)
    command = ["train", f"--image={photograph}", "--run_dir=run", *settings]
    status, out, error = run(capsys, *command, "--dry_run")
    assert (status, error) == (0, "")
    assert list(tmp_path.iterdir()) == []
    assert run(capsys, *command)[0] == 0
    stored = json.loads(pathlib.Path("run/config.json").read_text())["config"]
    (tmp_path / "my.flags").write_text(out)
    again = by_files(f"--flagfile={tmp_path / 'my.flags'}")
    assert config.to_json(again) == stored
    notes = [line for line in out.splitlines() if line.startswith("#")]
    patched = stored["layout"]["patch_scales"]
    sizes = [line.split(": ")[1].split(",")[0] for line in notes[:-1]]
    assert len(sizes) >= 2 and sizes[-1] == "60x40" or stored["pyramid"]["num_scales"]
    for scale, line in enumerate(notes[:-1]):
        assert line.startswith(f"# scale {scale}: ")
        assert ("made of patches" in line) == (scale < patched)
        assert ("critic" in line and " steps" in line) == (scale >= patched)
        if stored["training"]["steps"] == "0:7,1-:8":
            assert line.endswith(", 7 steps" if scale == 0 else ", 8 steps")
    assert notes[-1].startswith("# About ")


def test_a_dry_run_of_a_finished_run_says_so(capsys, finished, photograph):
    command = ["train", f"--image={photograph}", f"--run_dir={finished}"]
    _, out, _ = run(capsys, *command, "--preset=smoke", "--dry_run")
    assert out.endswith(f"# The run in {finished} is finished.\n")
    _, out, _ = run(capsys, *command, "--preset=smoke", "--dry_run", "--overwrite")
    assert out.splitlines()[-1].startswith("# About ")


def test_a_dry_demo_is_quick(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = run(capsys, "demo", "--dry_run")
    assert status == 0 and list(tmp_path.iterdir()) == []
    (tmp_path / "my.flags").write_text(out)
    found = by_files(f"--flagfile={tmp_path / 'my.flags'}")
    assert config.differences(by_files(file("quick")), found) == [
        f"--patch_scales: -1 -> {found.layout.patch_scales}"
    ]
