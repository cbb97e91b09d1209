import contextlib
import csv
import io
import json
import pathlib
import re
import shlex
import signal
import statistics
import subprocess
import sys
import time

import numpy as np
import pytest
from absl import flags as absl_flags
from helpers import ROOT, contents, run, sentence
from page_checks import check_page
from PIL import Image

import main
from singan_tf import config, images, presets
from singan_tf.cli import flags as shared
from singan_tf.cli import many
from singan_tf.errors import UserError
from singan_tf.fleet import processes
from singan_tf.reports import studies, study_runs
from singan_tf.runs.folder import RunFolder, run_scales

FLAGS = ["--budget=smoke", "--max_size=40", "--steps=1", "--num_samples=2"]


@pytest.fixture
def in_this_process(monkeypatch):
    """Commands without processes, a second in place of ten; the names of theirs."""
    started = []

    def carry_out(commands, workers, should_stop, beam_flags):
        errors = {}
        for folder, command in commands.items():
            started.append(folder.name)
            said = io.StringIO()
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                if main.main(["main.py", *command[2:]]):
                    last = said.getvalue().splitlines()[-1]
                    errors[folder] = last.removeprefix("error: ")
        return errors

    monkeypatch.setattr(processes, "carry_out", carry_out)
    return started


@pytest.fixture(scope="module")
def study_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("studies") / "rocket"


def carry_out(capsys, name, photograph, study_dir, *flags):
    """Runs a study in this process: status, standard output, standard error."""
    arguments = [f"--name={name}", f"--image={photograph}", f"--study_dir={study_dir}"]
    return run(capsys, "study", *arguments, *FLAGS, *flags)


@pytest.fixture
def few_rows(monkeypatch):
    """One row of each study, two of padding and of the variation of one run."""
    for name, study in studies.STUDIES.items():
        rows = study.rows[-1:]
        if name == "padding":
            rows = study.rows[:2]
        elif name in ("sketch_to_paint", "variation"):
            # The smallest pyramid has two scales.
            rows = study.rows[: 1 + (name == "variation")]
        monkeypatch.setitem(studies.STUDIES, name, study._replace(rows=rows))


@pytest.mark.slow
@pytest.mark.parametrize("name", list(studies.STUDIES))
def test_every_study_makes_its_page_and_table(
    capsys, name, photograph, study_dir, in_this_process, few_rows, request
):
    flags = []
    if name == "texture":
        flags = [f"--vgg_weights={request.getfixturevalue('vgg_file')}"]
    status, out, error = carry_out(capsys, name, photograph, study_dir, *flags)
    assert status == 0, error
    assert str(study_dir / name / "index.html") in out
    found = check_page(study_dir / name / "index.html")
    with open(study_dir / name / f"{name}.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(row["row"] in found.text for row in rows)
    # A reconstruction, two samples and the map of variance of each row.
    assert len(found.images) >= 1 + 4 * len(rows)
    assert (study_dir / name / "contact_sheet.png").exists()
    for row in rows:
        check_row(row, study_dir, name == "sketch_to_paint")
    check_small_page(study_dir / name, photograph, rows, flags)


def check_small_page(folder, photograph, rows, flags):
    """Its table says what the CSV file says, and its command is one that works."""
    title, found, command, *_, table, sheet = (
        (folder / "STUDY.md").read_text().split("\n\n")
    )
    study = studies.STUDIES[folder.name]
    assert (title, found) == (f"# {study.title}: {folder.name}", study.found)
    arguments = [f"--name={folder.name}", f"--image={photograph}", *FLAGS, *flags]
    python, program, name, *given = shlex.split(command)
    assert (python, program, name) == ("python", "main.py", "study")
    assert sorted(given) == sorted(arguments)
    header, rule, *lines = (line.strip("| ").split(" | ") for line in table.split("\n"))
    assert len(header) == len(rule) and header[:2] == ["row", "scales"]
    assert [line[0] for line in lines] == [row["row"] for row in rows]
    column = header.index("patch Frechet")
    for line, row in zip(lines, rows):
        assert float(line[column]) == pytest.approx(float(row["patch_frechet"]), 0.01)
    assert "](contact_sheet.webp)" in sheet
    # It is to be kept in a repository.
    assert (folder / "contact_sheet.webp").stat().st_size < 300e3


def check_row(row, study_dir, paints):
    """The values of a line of the table, against the run's own files."""
    place = f"{row['run']}-from-{row['start_scale']}" + paints * "-sketched"
    run_dir = study_dir / "runs" / row["run"]
    stored, photograph = RunFolder(run_dir).read()
    count = len(run_scales(stored, photograph).sizes)
    assert (row["error"], int(row["scales"])) == ("", count)
    flat = {}
    for section in config.to_json(stored).values():
        flat.update(section)
    for setting in set(row) & set(flat):
        assert row[setting] == str(flat[setting])
    seconds, peaks = 0, []
    trained = study_dir / "painted" / place / "sketched" if paints else run_dir
    for scale in range(int(row["start_scale"]) if paints else 0, count):
        lines = (trained / f"scales/{scale:02d}/timings.csv").read_text().splitlines()
        assert lines[0] == "step,steps,seconds,peak_mib"
        cells = [[float(cell) for cell in line.split(",")] for line in lines[1:]]
        assert cells[-1][0] == sum(line[1] for line in cells) == flat["steps"]
        seconds += sum(line[2] for line in cells)
        peaks += [line[3] for line in cells]
        paces = [line[2] / line[1] for line in cells]
        found = float(row[f"seconds_per_step_{scale:02d}"])
        assert min(paces) <= found * 1.0001 and found <= max(paces) * 1.0001
    assert float(row["seconds"]) == pytest.approx(seconds)
    assert float(row["peak_mib"]) == pytest.approx(max(peaks))
    folder = study_dir / "measured" / place
    measured = json.loads((folder / "metrics.json").read_text())
    assert measured["samples"] == 2
    for name in ("patch_frechet", "plausibility", "coverage", "copied"):
        assert float(row[name]) == pytest.approx(measured[name]["mean"])
    assert float(row["diversity"]) == pytest.approx(measured["diversity"])
    for name in ("rmse", "psnr"):
        expected = measured["reconstruction"][name]
        assert float(row[f"reconstruction_{name}"]) == pytest.approx(expected)


@pytest.mark.slow
def test_a_finished_study_is_not_trained_or_measured_again(
    capsys, photograph, study_dir, in_this_process, few_rows
):
    carry_out(capsys, "padding", photograph, study_dir)
    in_this_process.clear()
    before = contents(study_dir)
    assert carry_out(capsys, "padding", photograph, study_dir)[0] == 0
    assert in_this_process == []
    assert contents(study_dir) == before


def test_studies_share_the_runs_of_equal_settings(
    capsys, photograph, study_dir, in_this_process, few_rows
):
    """Every study of a photograph has the same baseline."""
    assert carry_out(capsys, "padding", photograph, study_dir)[0] == 0
    names = {path.name for path in (study_dir / "runs").glob("*/")}
    in_this_process.clear()
    assert carry_out(capsys, "reconstruction_weight", photograph, study_dir)[0] == 0
    # The weight of its last row is the budget's.
    assert in_this_process == []
    assert {path.name for path in (study_dir / "runs").glob("*/")} == names
    base = json.loads((study_dir / "runs/baseline/config.json").read_text())
    assert base["config"]["network"]["padding"] == "zeros"
    assert "padding=zeros" not in names and "padding=circular" in names


@pytest.mark.slow
def test_samples_of_twice_the_size(
    capsys, photograph, study_dir, in_this_process, few_rows
):
    assert carry_out(capsys, "pyramid_limits", photograph, study_dir)[0] == 0
    path = next(study_dir.glob("measured/*/twice_0.png"))
    run_dir = study_dir / "runs" / path.parent.name.rpartition("-from-")[0]
    stored, photograph = RunFolder(run_dir).read()
    height, width = run_scales(stored, photograph).sizes[-1]
    twice = images.read(path)
    assert twice.shape == (1, 2 * height, 2 * width, 3)


@pytest.mark.slow
def test_a_row_that_paints_measures_the_painting(
    capsys, photograph, study_dir, in_this_process, few_rows
):
    """Its samples are what `paint` makes of the drawing; so is the first of them."""
    assert carry_out(capsys, "sketch_to_paint", photograph, study_dir)[0] == 0
    (painted,) = (study_dir / "painted").glob("*/")
    scale = int(painted.name.split("-")[2])
    run_dir = study_dir / "runs" / "baseline"
    # The last scale: of two, no other has one below it.
    assert scale + 1 == len(list((run_dir / "scales").iterdir())) == 2
    measured = study_dir / "measured" / painted.name
    for ours, theirs in (
        ("sketch", "sketch"),
        ("reconstruction", "sketch_painted"),
        ("drawing", "input"),
        ("sample_0", f"scale_{scale:02d}_sketch"),
    ):
        expected = (painted / f"{theirs}.png").read_bytes()
        assert (measured / f"{ours}.png").read_bytes() == expected


@pytest.mark.slow
def test_a_painting_that_fails_is_told(capsys, tmp_path, in_this_process):
    """A photograph of colours equally bright can be trained on, but has no outlines."""
    photograph = tmp_path / "colours.png"
    pixels = np.zeros([40, 60, 3])
    pixels[:, :30] = 0.5, 0, -0.5
    pixels[:, 30:] = -0.5, 0, 0.5
    images.write(photograph, pixels)
    study_dir = tmp_path / "out"
    status, _, error = carry_out(capsys, "sketch_to_paint", photograph, study_dir)
    assert status == 1 and "1 of 1 rows" in sentence(error)
    small = (study_dir / "sketch_to_paint" / "STUDY.md").read_text()
    assert "«the last scale» could not be trained" in small and "no outlines" in small
    assert in_this_process == ["baseline", "baseline-from-1-sketched"]


@pytest.mark.slow
def test_a_row_that_fails_is_told_and_the_others_stay(
    capsys, photograph, tmp_path, in_this_process, monkeypatch
):
    diverging = {"critic_learning_rate": 1e30}
    rows = [
        studies.Row("sound"),
        studies.Row("lost", diverging),
        # Of the same run: nothing is painted with what is not there.
        studies.Row("unpainted", diverging, -1, sketch=True),
    ]
    study = studies.Study("Three rows", "Nothing.", rows)
    monkeypatch.setitem(studies.STUDIES, "padding", study)
    status, out, error = carry_out(capsys, "padding", photograph, tmp_path / "out")
    assert status == 1
    assert "2 of 3 rows" in sentence(error) and "lost" in error
    assert len(in_this_process) == 2
    with open(tmp_path / "out/padding/padding.csv", newline="") as file:
        sound, lost, unpainted = csv.DictReader(file)
    assert float(sound["patch_frechet"]) > 0 and sound["error"] == ""
    assert "diverged" in lost["error"] and lost["patch_frechet"] == ""
    assert unpainted["error"] == lost["error"]
    assert "diverged" in check_page(tmp_path / "out/padding/index.html").text


@pytest.fixture
def two_photographs(photograph, tmp_path):
    """A copy of the photograph, and its mirror image."""
    paths = [tmp_path / "left.png", tmp_path / "right.png"]
    picture = Image.open(photograph).convert("RGB")
    picture.save(paths[0])
    picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(paths[1])
    return paths


def several(capsys, name, photographs, study_dir, *flags):
    """Runs a study of several photographs, as `carry_out`."""
    given = ",".join(map(str, photographs))
    arguments = [f"--name={name}", f"--images={given}", f"--study_dir={study_dir}"]
    return run(capsys, "study", *arguments, *FLAGS, *flags)


@pytest.mark.parametrize(
    ("name", "folders"),
    [
        # Of one run's scales, whatever is sampled of it.
        ("variation", ["baseline", "seed=1", "seed=2"]),
        ("reconstruction_noise", ["baseline", "seed=1", "seed=2"]),
    ],
)
def test_each_row_is_trained_for_every_photograph_and_seed_once(
    capsys, two_photographs, tmp_path, monkeypatch, name, folders
):
    """What is to be trained; nothing is."""
    asked = {}

    def carry_out(commands, *_):
        asked.update(commands)
        raise processes.Interrupted()

    monkeypatch.setattr(processes, "carry_out", carry_out)
    study_dir = tmp_path / "out"
    assert several(capsys, name, two_photographs, study_dir, "--seeds=3")[0] == 130
    if name == "reconstruction_noise":
        fixed = "reconstruction_noise=fixed"
        folders = [*folders, fixed, f"{fixed},seed=1", f"{fixed},seed=2"]
    wanted = {
        study_dir / "photographs" / photograph.stem / "runs" / folder: photograph
        for photograph in two_photographs
        for folder in folders
    }
    assert set(asked) == set(wanted)
    for folder, photograph in wanted.items():
        words = asked[folder]
        seed = folder.name.partition("seed=")[2] or "0"
        assert f"--seed={seed}" in words and f"--image={photograph}" in words
        kind = "fixed" if "fixed" in folder.name else "redrawn"
        assert f"--reconstruction_noise={kind}" in words


@pytest.mark.slow
def test_two_photographs_and_two_seeds(
    capsys, two_photographs, tmp_path, in_this_process, few_rows
):
    study_dir = tmp_path / "out"
    # After a single step all samples are the same in 8 bits.
    brief = ["--steps=40", "--log_steps=20"]
    found = several(capsys, "padding", two_photographs, study_dir, "--seeds=2", *brief)
    assert found[0] == 0, found[2]
    # Two rows of two photographs and two seeds.
    assert len(in_this_process) == 8
    with open(study_dir / "padding/padding.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    pairs = [(line["row"], line["photograph"], line["seed"]) for line in lines]
    assert pairs == [
        (row, photograph, seed)
        for row in ("zeros", "circular")
        for photograph in ("left", "right")
        for seed in "01"
    ]
    for line in lines:
        check_row(line, study_dir / "photographs" / line["photograph"], False)
    found = check_page(study_dir / "padding/index.html")
    assert "circular, right" in found.text and "seed 1" not in found.text
    # Two photographs; of each, two rows with a reconstruction, two samples and a map.
    assert len(found.images) == 2 + 2 * 2 * 4
    small = (study_dir / "padding/STUDY.md").read_text()
    for column, of_both, words in (
        ("diversity", lambda one, other: (one - other).mean(), "difference "),
        (
            "plausibility",
            lambda one, other: statistics.geometric_mean(one / other),
            "×",
        ),
    ):
        one, other = (
            np.array([float(line[column]) for line in lines if line["row"] == row])
            for row in ("circular", "zeros")
        )
        said = re.search(rf"{column} \S+ ± \S+ against .*? {words}(\S+?),? ", small)
        assert (one != other).any()
        assert float(said[1]) == pytest.approx(of_both(one, other), rel=0.01)
    assert small.count("over 4 pairs") == 2 and "2 claims are tested" in small
    assert "--seeds=2" in small

    # All is there for a third seed of a study of one of them, and for one of one.
    in_this_process.clear()
    place = study_dir / "photographs" / "right"
    alone = ["padding", two_photographs[1], place, *brief]
    assert carry_out(capsys, *alone, "--seeds=3")[0] == 0
    assert sorted(in_this_process) == ["padding=circular,seed=2", "seed=2"]
    in_this_process.clear()
    assert carry_out(capsys, *alone)[0] == 0
    assert in_this_process == []
    header, *lines = (place / "padding/padding.csv").read_text().splitlines()
    assert "photograph" not in header and ",seed," not in header and len(lines) == 2


@pytest.mark.parametrize(
    ("flags", "status", "words"),
    [
        (["--image=coffee"], 2, "--image and --images say the same"),
        (["--images=coffee,a/coffee.png"], 1, "a/coffee.png"),
        (["--images=coffee,coffee"], 2, "Two of the photographs are called coffee"),
        (["--images=coffee,rocket", "--seeds=0"], 2, "seeds"),
        (["--images="], 2, "--image is missing"),
    ],
)
def test_mistakes_with_several_photographs_are_told(
    capsys, two_photographs, tmp_path, in_this_process, flags, status, words
):
    study_dir = tmp_path / "out"
    found = several(capsys, "padding", two_photographs, study_dir, *flags)
    assert found[0] == status and words in sentence(found[2])
    assert in_this_process == [] and not study_dir.exists()


def test_the_folder_of_one_photograph_is_not_that_of_several(
    capsys, two_photographs, tmp_path, in_this_process
):
    study_dir = tmp_path / "out"
    (study_dir / "photographs" / "right").mkdir(parents=True)
    (study_dir / "photographs" / "right" / "mine.txt").write_text("mine")
    (study_dir / "photographs" / "left").mkdir()
    before = contents(study_dir)
    for given in (two_photographs, two_photographs[:1]):
        status, _, error = several(capsys, "padding", given, study_dir)
        assert status == 1 and "holds no study" in sentence(error)
    assert contents(study_dir) == before and in_this_process == []


def test_the_reference_has_a_budget_of_its_own(
    capsys, photograph, tmp_path, monkeypatch
):
    asked = {}

    def carry_out(commands, *_):
        asked.update(commands)
        raise processes.Interrupted()

    monkeypatch.setattr(processes, "carry_out", carry_out)
    flags = [f"--image={photograph}", f"--study_dir={tmp_path / 'out'}", "--seeds=2"]
    assert run(capsys, "study", "--name=reference", *flags)[0] == 130
    assert [folder.name for folder in asked] == ["baseline", "seed=1"]
    recipe = {**presets.preset("paper"), "max_size": 80, "steps": 500}
    for seed, words in enumerate(asked.values()):
        values = absl_flags.FlagValues()
        shared.define_settings(values)
        # After the program, the command, the photograph and the folder.
        values(["main.py", *words[5:]])
        wanted = config.from_settings({**recipe, "seed": seed})
        assert shared.read_config(values) == wanted


def command(photograph, study_dir, *flags):
    arguments = [f"--image={photograph}", f"--study_dir={study_dir}", *FLAGS, *flags]
    return [sys.executable, str(ROOT / "main.py"), "study", *arguments]


@pytest.mark.slow
def test_rows_run_in_processes_of_their_own_with_their_share_of_cores(
    photograph, tmp_path
):
    done = subprocess.run(
        command(photograph, tmp_path / "out", "--name=reconstruction_noise")
        + ["--workers=2"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "out/reconstruction_noise/reconstruction_noise.csv") as file:
        assert [row["row"] for row in csv.DictReader(file)] == ["redrawn", "fixed"]
    assert "Wrote" in (tmp_path / "out/runs/baseline.log").read_text()


@pytest.mark.slow
def test_a_stopped_study_stops_its_runs_and_goes_on(photograph, tmp_path):
    arguments = command(photograph, tmp_path / "out", "--name=losses")
    arguments = [each.replace("--steps=1", "--steps=3000") for each in arguments]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    run_dir = tmp_path / "out" / "runs" / "baseline"
    deadline = time.monotonic() + 600
    while not RunFolder(run_dir).timings(0) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=600)
    assert process.returncode == 130 and "all is saved" in error
    state = RunFolder(run_dir).state(0)
    assert 0 < state.step < 3000
    log = (tmp_path / "out" / "runs" / "baseline.log").read_text()
    assert "Stopped: all is saved" in log
    assert len(RunFolder(run_dir).losses(0, state)) == state.step


@pytest.mark.parametrize(
    ("flags", "status", "words"),
    [
        (["--name=paddin"], 2, "did you mean padding?"),
        (["--name=texture"], 2, "«weight 0.01»: --texture_weight needs --vgg_weights"),
        (["--name=hamster"], 2, "one of residual"),
        (["--name=padding", "--min_size=99"], 1, "row «zeros»"),
        (["--name=sketch_to_paint", "--min_size=27"], 1, "too few scales"),
        (
            ["--name=padding", "--strategy=multi_worker"],
            2,
            "for one run on several machines",
        ),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(
    capsys, photograph, study_dir, in_this_process, flags, status, words
):
    (name, *others) = flags
    found = carry_out(capsys, name[7:], photograph, study_dir, *others)
    assert found[0] == status
    assert words in sentence(found[2])
    assert in_this_process == []


def test_runs_of_other_settings_are_told_before_anything_is_trained(
    capsys, photograph, study_dir, in_this_process, few_rows
):
    assert carry_out(capsys, "residual", photograph, study_dir)[0] == 0
    in_this_process.clear()
    status, _, error = carry_out(capsys, "residual", photograph, study_dir, "--seed=3")
    assert status == 1 and "other settings" in sentence(error)
    assert in_this_process == []


def test_a_photograph_of_one_colour_is_told_before_anything_is_trained(
    capsys, tmp_path, in_this_process
):
    Image.new("RGB", (60, 40)).save(tmp_path / "flat.png")
    folder = tmp_path / "study"
    status, _, error = carry_out(capsys, "padding", tmp_path / "flat.png", folder)
    assert status == 1 and "of one colour everywhere" in sentence(error)
    assert in_this_process == [] and not folder.exists()


def test_another_folder_is_left_alone(capsys, photograph, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    status, _, error = carry_out(capsys, "padding", photograph, tmp_path)
    assert status == 1 and "holds no study" in sentence(error)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("budget", many.BUDGETS)
@pytest.mark.parametrize("name", studies.STUDIES)
def test_every_row_of_every_budget_is_a_valid_configuration(name, budget):
    values = absl_flags.FlagValues()
    many.STUDY.define(values)
    values(["main.py", "--vgg_weights=download"])
    settings = many.budget_settings(values, many.BUDGETS[budget])
    names = set()
    for row in studies.STUDIES[name].rows:
        resolved = study_runs.resolve(row, settings)
        names.add((study_runs.run_name(resolved, settings), row.start_scale))
    # At more than a few steps, no two rows are the same run sampled the same way.
    assert budget == "smoke" or len(names) == len(studies.STUDIES[name].rows)
    assert all(re.fullmatch(r"[\w.,=+-]{1,120}", each) for each, _ in names)


def test_a_multiple_of_a_whole_number_is_one():
    assert studies.Times(0.5).of("steps", 5) == 2
    assert studies.Times(0.1).of("steps", 1) == 1
    assert studies.Times(0.2).of("beta1", 5e-4) == pytest.approx(1e-4)
    assert studies.Times(0.5).of("steps", "0-1:40,2-:1") == "0-1:20,2-:1"
    rates = studies.Times(2).of("critic_learning_rate", "0-1:0.0005,2-:0.001")
    assert rates == "0-1:0.001,2-:0.002"
    with pytest.raises(UserError, match="^--steps=many has 'many', which is neither"):
        studies.Times(0.5).of("steps", "many")


def test_a_row_that_cannot_be_is_named():
    settings = {field.name: field.default for field in config.settings()}
    row = studies.Row("too wide", {"width": 999})
    with pytest.raises(UserError, match="«too wide»"):
        study_runs.resolve(row, settings)


def test_the_documentation_lists_every_study():
    text = (pathlib.Path(ROOT) / "docs" / "studies.md").read_text()
    for name in studies.STUDIES:
        assert f"`{name}`" in text
