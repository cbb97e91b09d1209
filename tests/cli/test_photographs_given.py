"""Several photographs on the command line, and what commands make of such a run."""

import json
import shutil

import numpy as np
import pytest
from helpers import SMOKE, copied, pixels, run, sentence
from PIL import Image

import main
import singan_tf
from export.pipeline import Pipeline
from singan_tf import images
from singan_tf.measure import metrics
from singan_tf.runs.folder import RunFolder

SMALL = [SMOKE, "--num_scales=2", "--steps=2", "--max_size=44", "--min_size=16"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Rocket.png and coffee.png in a folder, and others beside it."""
    folder = tmp_path_factory.mktemp("given")
    (folder / "both").mkdir()
    (folder / "none").mkdir()
    (folder / "none" / "readme.txt").write_text("no picture")
    for name, size in (("coffee", (44, 32)), ("rocket", (40, 36))):
        picture = Image.open(images.resolve(name)).convert("RGB").resize(size)
        picture.save(folder / "both" / f"{name}.png")
    picture.convert("L").save(folder / "grey.png")
    picture.save(folder / "again.png")
    (folder / "broken.png").write_bytes((folder / "again.png").read_bytes()[:400])
    picture.resize((44, 9)).save(folder / "narrow.png")
    return folder


@pytest.fixture(scope="module")
def both(place):
    """A finished run on both; never write into it."""
    arguments = [f"--image={place / 'both'}", f"--run_dir={place / 'run'}", *SMALL]
    assert main.main(["main.py", "train", *map(str, arguments)]) == 0
    return place / "run"


@pytest.mark.slow
def test_all_ways_to_give_photographs_are_one(capsys, place, both):
    coffee, rocket = place / "both" / "coffee.png", place / "both" / "rocket.png"
    for given in (
        [f"--image={coffee},{rocket}"],
        [f"--image={coffee}", f"--image={rocket}"],
        [f"--image={place / 'both'}/"],
    ):
        arguments = [*given, f"--run_dir={both}", *SMALL]
        status, out, error = run(capsys, "train", *arguments)
        assert (status, error) == (0, ""), given
        assert "is finished" in out
    for given in ([f"--image={rocket},{coffee}"], [f"--image={coffee}"]):
        status, _, error = run(capsys, "train", *given, f"--run_dir={both}", *SMALL)
        assert status == 1 and "photograph: coffee.png, rocket.png -> " in error
    names = [each.name for each in RunFolder(both).photographs()]
    assert names == ["coffee.png", "rocket.png"]


@pytest.mark.slow
def test_a_list_trains_in_python_as_the_command_does(place, both, tmp_path):
    settings = {**singan_tf.preset("smoke"), "num_scales": 2, "steps": 2}
    settings.update(max_size=44, min_size=16)
    arrays = [place / "both" / "coffee.png", str(place / "both" / "rocket.png")]
    model = singan_tf.train(arrays, tmp_path / "run", settings)
    np.testing.assert_array_equal(model.sample([3]), singan_tf.load(both).sample([3]))
    pixels_of = [pixels(path) for path in arrays]
    settings["patch_scales"] = 2
    singan_tf.train(pixels_of, tmp_path / "arrays", settings)
    found = RunFolder(tmp_path / "arrays").photographs()
    assert [each.name for each in found] == ["array.png", "array-2.png"]
    with pytest.raises(ValueError, match="empty list"):
        singan_tf.train([], tmp_path / "none", settings)


def test_the_run_has_a_name_and_one_name_with_a_comma_is_one(capsys, place):
    odd = place / "odd, but one.png"
    odd.write_bytes((place / "again.png").read_bytes())
    status, out, error = run(capsys, "train", f"--image={odd}", *SMALL, "--dry_run")
    assert status == 0 and "scale 1: 40x36" in out, error


@pytest.mark.parametrize(("here", "given"), [("both", "."), ("both/below", "..")])
def test_a_folder_of_photographs_may_be_the_working_folder(
    capsys, place, tmp_path, monkeypatch, here, given
):
    shutil.copytree(place / "both", tmp_path / "both")
    (tmp_path / here).mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / here)
    flags = [SMALL[0], "--num_scales=2", "--max_size=44", "--min_size=16"]
    status, _, error = run(
        capsys, "train", f"--image={given}", *flags, "--patch_scales=2"
    )
    assert status == 0, error
    assert (tmp_path / here / "runs" / "both" / "config.json").is_file()
    status, _, error = run(capsys, "train", "--image=/", *flags)
    assert status == 2 and "add --run_dir=runs/NAME" in sentence(error)


def test_a_long_list_of_photographs_is_no_name_of_a_file(capsys, place, monkeypatch):
    monkeypatch.chdir(place / "both")
    given = ",".join(["coffee.png"] * 50)
    status, _, error = run(capsys, "train", f"--image={given}", *SMALL)
    assert status == 1 and "coffee.png is the same photograph" in sentence(error)


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        (["both/coffee.png,broken.png"], ["broken.png"]),
        (["both/coffee.png,missing.png"], ["missing.png"]),
        (["both/coffee.png,both/coffee.png"], ["coffee.png is the same", "once"]),
        (["both", "again.png"], ["again.png is the same photograph as", "rocket.png"]),
        (
            ["both/coffee.png,grey.png"],
            ["grey.png is grey", "coffee.png", "channels=1"],
        ),
        (["none"], ["none holds no image", ".png"]),
        (["both/coffee.png", "narrow.png"], ["narrow.png: ", "44x9", "shortest side"]),
    ],
)
def test_what_does_not_go_together_is_one_sentence(
    capsys, place, tmp_path, given, parts
):
    flags = [
        "--image=" + ",".join(str(place / name) for name in text.split(","))
        for text in given
    ]
    run_dir = tmp_path / "run"
    status, out, error = run(capsys, "train", *flags, f"--run_dir={run_dir}", *SMALL)
    assert status == 1 and out == ""
    for part in parts:
        assert part in sentence(error).replace(str(place) + "/", "")
    assert not run_dir.exists()


def test_an_empty_name_is_a_missing_flag(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, error = run(capsys, "train", "--image=", *SMALL)
    assert status == 2 and "--image is missing" in sentence(error)


@pytest.mark.parametrize(
    "arguments",
    [
        ["study", "--name=padding"],
        ["evaluate", "--samples=somewhere"],
    ],
)
def test_commands_of_one_photograph_refuse_two(capsys, place, tmp_path, arguments):
    coffee, rocket = place / "both" / "coffee.png", place / "both" / "rocket.png"
    twice = [f"--image={coffee}", f"--image={rocket}"]
    status, _, error = run(capsys, *arguments, *twice)
    assert status == 2
    assert "--image is given twice" in sentence(error) and "takes one" in error
    status, _, error = run(capsys, *arguments, f"--image={coffee},{rocket}")
    assert status == 1 and "one image is wanted here" in sentence(error)


@pytest.mark.slow
def test_evaluate_and_the_report_compare_with_each(capsys, both, tmp_path):
    output = tmp_path / "out"
    arguments = [f"--run_dir={both}", f"--output_dir={output}", "--num_samples=3"]
    status, out, error = run(capsys, "evaluate", *arguments)
    assert status == 0, error
    assert "a photograph of 44x32 pixels" in out and "of 40x36 pixels" in out
    found = json.loads((output / "metrics.json").read_text())
    (further,) = found["further_photographs"]
    model = singan_tf.load(both)
    samples = [
        images.to_uint8(each)[np.newaxis].astype(np.float32) / 127.5 - 1
        for each in model.sample([0, 1, 2])
    ]
    for summary, name in ((found, "01.png"), (further, "01-2.png")):
        photograph = images.read(both / "pyramid" / name)
        expected = metrics.diversity(samples, photograph)
        assert summary["diversity"] == pytest.approx(expected, rel=1e-3)
        distances = [metrics.patch_frechet(each, photograph) for each in samples]
        assert summary["patch_frechet"]["mean"] == pytest.approx(
            np.mean(distances), rel=1e-3
        )
        assert summary["reconstruction"]["rmse"] > 0
    assert (output / "metrics-2.csv").read_text().count("seed_") == 3
    call = json.loads((output / "call.json").read_text())
    assert call["run"]["further_images"][0]["image"] == "rocket.png"
    page = (both / "report" / "index.html").read_text()
    assert "coffee.png, rocket.png" in page and "samples nearest to it" in page
    for scale in (0, 1):
        assert (both / f"scales/{scale:02d}/reconstruction-2.png").exists()


@pytest.mark.slow
def test_an_export_reconstructs_the_photograph_that_is_asked_for(
    capsys, both, tmp_path
):
    run_dir = copied(both, tmp_path / "run")
    for command in ("export", "verify"):
        status, _, error = run(capsys, command, f"--run_dir={run_dir}")
        assert status == 0, error
    exports = str(run_dir / "saved_model")
    pipeline = Pipeline(exports, "reconstruct")
    model = singan_tf.load(run_dir)
    for number, size in enumerate([(32, 44), (36, 40)]):
        answer = pipeline({"seed": [0, 1], "photograph": number})["image"]
        assert answer.shape == (2, *size, 3)
        expected = pixels(RunFolder(run_dir).reconstruction(1, number))
        assert np.abs(answer[1].astype(int) - expected).max() <= 1
    first = pipeline({"seed": [0]})["image"]
    assert first.shape == (1, 32, 44, 3)
    with pytest.raises(Exception, match="photograph must be from 0 to 1"):
        pipeline({"seed": [0], "photograph": 2})
    files = Pipeline(exports, "reconstruct_png")(
        {"seed": [0, 0], "photograph": [1, 0]}
    )["image_bytes"]
    assert [pixels(file).shape for file in files] == [(36, 40, 3), (32, 44, 3)]
    made = Pipeline(exports, "sample")({"seed": [7]})["image"][0]
    np.testing.assert_array_equal(made, images.to_uint8(model.sample([7])[0]))
