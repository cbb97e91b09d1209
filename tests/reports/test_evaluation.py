import csv
import json

import numpy as np
import pytest
from helpers import SMOKE, contents, run, sentence

from singan_tf import images
from singan_tf.keras2 import keras
from singan_tf.measure import inception, metrics, spectrum
from singan_tf.reports import evaluation


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A stem with random weights, in the program's format."""
    rng = np.random.default_rng(0)
    widths = [3, 32, 32, 64]
    convolutions = [
        inception.Convolution(
            rng.normal(0, (9 * a) ** -0.5, [3, 3, a, b]).astype(np.float32),
            rng.normal(0, 0.1, b).astype(np.float32),
        )
        for a, b in zip(widths, widths[1:])
    ]
    path = tmp_path_factory.mktemp("weights") / "stem.npz"
    inception.save(path, convolutions)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A photograph and samples of many kinds."""
    folder = tmp_path_factory.mktemp("images")
    coffee = images.read(images.resolve("coffee"))[:, 100:170, 200:280]
    other = images.read(images.resolve("coffee"))[:, 200:270, 300:380]
    images.write(folder / "real.png", coffee)
    images.write(folder / "grey.png", coffee.mean(axis=-1, keepdims=True))
    images.write(folder / "constant.png", 0 * coffee)
    images.write(folder / "tiny.png", coffee[:, :5, :5])
    for kind, samples in {
        "copies": [coffee, coffee],
        "moved": [np.roll(coffee, n, (1, 2)) for n in (11, 22)],
        "others": [other, other[:, ::-1]],
        "single": [other],
        "sizes": [other, other[:, :30], coffee[:, :5, :5]],
        "grey": [x.mean(axis=-1, keepdims=True) for x in (other, coffee)],
        "constant": [0 * coffee, 0 * coffee],
        "empty": [],
    }.items():
        (folder / kind).mkdir()
        for index, sample in enumerate(samples):
            images.write(folder / kind / f"{index}.png", sample)
    (folder / "empty" / "notes.txt").write_text("no image")
    (folder / "broken").mkdir()
    (folder / "broken" / "bad.png").write_text("no image")
    return folder


def rows(output):
    with open(output / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def found(output):
    return json.loads((output / "metrics.json").read_text())


def evaluate_folder(capsys, tmp_path, folder, samples, image="real.png", *flags):
    output = tmp_path / "out"
    arguments = [f"--samples={folder / samples}", f"--image={folder / image}"]
    status, out, error = run(
        capsys, "evaluate", *arguments, f"--output_dir={output}", *flags
    )
    assert status == 0, error
    return out, found(output), rows(output)


def test_a_run_is_evaluated_and_stays_as_it_was(capsys, tmp_path, finished, weights):
    before = contents(finished)
    arguments = [f"--run_dir={finished}", f"--output_dir={tmp_path}", "--num_samples=3"]
    status, out, error = run(
        capsys, "evaluate", *arguments, f"--inception_weights={weights}", "--seed=4"
    )
    assert status == 0, error
    assert contents(finished) == before
    assert {path.name for path in tmp_path.iterdir()} == {
        "metrics.csv",
        "metrics.json",
        "call.json",
        "contact_sheet.png",
    }
    assert "No SIFID" not in out
    table = rows(tmp_path)
    assert [row["sample"] for row in table] == [f"seed_00000{n}" for n in (4, 5, 6)]
    summary = found(tmp_path)
    for name in evaluation.COLUMNS:
        assert name in out
    values = [float(row["sifid"]) for row in table]
    assert summary["sifid"]["mean"] == pytest.approx(np.mean(values))
    deviation = np.std(values, ddof=1)
    assert summary["sifid"]["deviation"] == pytest.approx(deviation, rel=1e-3)
    assert (summary["sifid"]["least"], summary["sifid"]["most"]) == pytest.approx(
        (min(values), max(values))
    )
    assert f"{summary['sifid']['mean']:.4f}" in out
    assert f"{summary['diversity']:.4f}" in out
    photograph = images.read(finished / "pyramid/02.png")
    reconstruction = images.read(finished / "scales/02/reconstruction.png")
    expected = metrics.rmse(reconstruction, photograph)
    assert summary["reconstruction"]["rmse"] == pytest.approx(expected, abs=2e-3)
    assert set(summary["reconstruction"]) == {"rmse", "psnr", "ssim"}
    call = json.loads((tmp_path / "call.json").read_text())
    assert call["command"] == "evaluate"
    assert call["run"]["image"] == "rocket.png"
    assert call["results"] == summary


def test_the_samples_of_a_run_are_evaluated_alike_from_their_files(
    capsys, tmp_path, finished, weights
):
    flags = [f"--run_dir={finished}", "--num_samples=2", "--start_scale=1"]
    assert run(capsys, "sample", *flags, f"--output_dir={tmp_path / 'files'}")[0] == 0
    flags.append(f"--inception_weights={weights}")
    status, _, error = run(
        capsys, "evaluate", *flags, f"--output_dir={tmp_path / 'run'}"
    )
    assert status == 0, error
    # The contact sheet that `sample` leaves is no sample.
    _, summary, table = evaluate_folder(
        capsys,
        tmp_path,
        tmp_path,
        "files",
        finished / "pyramid/02.png",
        f"--inception_weights={weights}",
    )
    assert [row["sample"] for row in table] == ["seed_000000.png", "seed_000001.png"]
    for ours, theirs in zip(table, rows(tmp_path / "run")):
        del ours["sample"], theirs["sample"]
        assert ours == theirs
    assert summary["diversity"] == found(tmp_path / "run")["diversity"]
    call = json.loads((tmp_path / "out/call.json").read_text())
    assert list(call["images"]["samples"]) == ["seed_000000.png", "seed_000001.png"]


def test_sifid_is_computed_from_each_sample_and_the_photograph(
    capsys, tmp_path, folder, weights
):
    _, _, table = evaluate_folder(
        capsys, tmp_path, folder, "others", "real.png", f"--inception_weights={weights}"
    )
    network = inception.load(str(weights))
    photograph = network(images.read(folder / "real.png"))
    for row in table:
        sample = network(images.read(folder / "others" / row["sample"]))
        expected = metrics.frechet_distance(
            metrics.gaussian(sample), metrics.gaussian(photograph)
        )
        assert float(row["sifid"]) == pytest.approx(expected, rel=1e-6)


def test_without_weights_all_but_sifid_is_there_and_nothing_is_downloaded(
    capsys, tmp_path, folder, monkeypatch
):
    monkeypatch.setattr(keras.utils, "get_file", pytest.fail)
    out, summary, table = evaluate_folder(capsys, tmp_path, folder, "others")
    assert summary["sifid"] is None
    for name in set(evaluation.COLUMNS) - {"sifid"}:
        assert summary[name]["samples"] == 2
        assert all(row[name] for row in table)
    lines = [line for line in out.splitlines() if "No SIFID" in line]
    assert len(lines) == 1
    assert inception.WEIGHTS_NAME in lines[0]
    assert "inception_weights=" in lines[0]


@pytest.mark.parametrize(
    ("samples", "image", "undefined", "said"),
    [
        ("copies", "real.png", [], "the photograph itself, at its place"),
        ("moved", "real.png", [], "the photograph itself, moved"),
        ("others", "real.png", [], ""),
        ("single", "real.png", ["diversity"], "needs at least two samples"),
        ("sizes", "real.png", ["diversity"], "needs samples of one size"),
        ("grey", "grey.png", [], ""),
        ("others", "grey.png", [], ""),
        (
            "constant",
            "constant.png",
            ["diversity", "copied", "copied_anywhere"],
            "more than one grey value",
        ),
        (
            "others",
            "tiny.png",
            [name for name in evaluation.COLUMNS],
            "too small for the layer",
        ),
    ],
)
def test_odd_images_have_every_metric_that_is_defined(
    capsys, tmp_path, folder, weights, samples, image, undefined, said
):
    out, summary, _ = evaluate_folder(
        capsys, tmp_path, folder, samples, image, f"--inception_weights={weights}"
    )
    values = {name: summary[name] for name in (*evaluation.COLUMNS, "diversity")}
    assert [name for name in values if values[name] is None] == sorted(
        undefined, key=list(values).index
    )
    assert said in out
    assert "the photograph itself" not in out or "the photograph itself" in said
    assert summary["notes"] == [
        line for line in out.splitlines() if line in summary["notes"]
    ]
    numbers = [v for value in values.values() if value for v in np.ravel(value)]
    json.dumps(numbers, allow_nan=False)
    if samples == "copies":
        assert values["diversity"] == 0
        for name in ("sifid", "plausibility", "coverage", "spectrum_rms"):
            assert values[name]["most"] == pytest.approx(0, abs=1e-5)


def test_a_grating_in_one_sample_is_told(capsys, tmp_path, folder):
    """At 3 / 8 of a cycle per pixel to the right: the fifth ring of seven."""
    photograph = images.read(folder / "real.png")
    wave = 0.05 * np.cos(2 * np.pi * 3 / 8 * np.arange(80) + 0.5)[:, None]
    (tmp_path / "made").mkdir()
    for name, sample in (("clean", photograph), ("grating", photograph + wave)):
        images.write(tmp_path / "made" / f"{name}.png", sample)
    out, summary, table = evaluate_folder(
        capsys, tmp_path, tmp_path, "made", folder / "real.png"
    )
    clean, grating = (float(row["spectrum_worst"]) for row in table)
    assert clean == 0 and grating > 10
    assert float(table[0]["spectrum_rms"]) == 0
    assert summary["spectrum_worst"]["most"] == pytest.approx(grating)
    found = summary["mean_spectrum"]
    samples = [images.read(tmp_path / "made" / row["sample"]) for row in table]
    assert found == pytest.approx(spectrum.compare(samples, photograph)._asdict())
    # Half the samples have it.
    expected = 10 * np.log10((1 + 10 ** (grating / 10)) / 2)
    assert found["worst"] == pytest.approx(expected, abs=0.01)
    assert found["frequency"] == pytest.approx(0.39)
    assert f"{found['worst']:.4f}  at 0.39 cycles per pixel" in out


def test_small_images_have_no_spectrum(capsys, tmp_path, folder):
    out, summary, table = evaluate_folder(capsys, tmp_path, folder, "sizes")
    assert summary["mean_spectrum"] is None
    assert [bool(row["spectrum_rms"]) for row in table] == [True, False, False]
    assert "a side is below 64 pixels" in out


@pytest.mark.parametrize(
    ("flags", "status", "part"),
    [
        ([], 2, "choose one way"),
        (["--run_dir={run}", "--samples={folder}/others"], 2, "choose one way"),
        (["--samples={folder}/others"], 2, "--image is missing"),
        (["--image={folder}/real.png"], 2, "--samples is missing"),
        (["--run_dir={run}", "--start_scale=3"], 2, "from 0 to 2"),
        (["--run_dir={run}", "--num_samples=0"], 2, "--num_samples"),
        (["--run_dir={run}", "--sifid_features=100"], 2, "sifid_features"),
        (["--run_dir={run}", "--inception_weights=none.h5"], 1, "none.h5"),
        (["--samples={folder}/no", "--image={folder}/real.png"], 1, "/no is not a"),
        (["--samples={folder}/empty", "--image={folder}/real.png"], 1, "no image"),
        (["--samples={folder}/others", "--image={folder}/no.png"], 1, "no.png"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    capsys, tmp_path, finished, folder, flags, status, part
):
    output = tmp_path / "out"
    flags = [flag.format(run=finished, folder=folder) for flag in flags]
    number, _, error = run(capsys, "evaluate", *flags, f"--output_dir={output}")
    assert number == status
    assert part in sentence(error)
    assert not output.exists()


def test_an_unreadable_sample_is_one_sentence(capsys, tmp_path, folder):
    flags = [f"--samples={folder / 'broken'}", f"--image={folder / 'real.png'}"]
    status, _, error = run(capsys, "evaluate", *flags, f"--output_dir={tmp_path}")
    assert status == 1
    assert "bad.png" in error
    assert "Traceback" not in error


def test_results_never_go_among_the_samples(capsys, folder):
    flags = [f"--samples={folder / 'others'}", f"--image={folder / 'real.png'}"]
    output = folder / "others" / "out"
    status, _, error = run(capsys, "evaluate", *flags, f"--output_dir={output}")
    assert status == 1
    assert "is in the folder of --samples" in sentence(error)
    assert not output.exists()


@pytest.mark.slow
def test_training_measures_sifid_with_weights(capsys, tmp_path, photograph, weights):
    command = ["train", f"--image={photograph}", SMOKE, "--num_scales=2", "--steps=2"]
    status, _, error = run(
        capsys,
        *command,
        f"--run_dir={tmp_path / 'run'}",
        f"--inception_weights={weights}",
    )
    assert status == 0, error
    head, row = (tmp_path / "run/scales/01/metrics.csv").read_text().split()
    assert head == "step,sifid,spectrum_rms,spectrum_worst"
    network = inception.load(str(weights))
    fake = images.read(tmp_path / "run/scales/01/fake.png")
    real = images.read(tmp_path / "run/pyramid/01.png")
    expected = metrics.sifid(network, fake, real)
    assert float(row.split(",")[1]) == pytest.approx(expected, rel=0.01)
    status, _, error = run(
        capsys, *command, f"--run_dir={tmp_path / 'b'}", "--inception_weights=none.h5"
    )
    assert status == 1
    assert "none.h5" in sentence(error)
    assert not (tmp_path / "b").exists()
