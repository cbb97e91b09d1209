import base64
import csv
import io
import json
import os
import re

import numpy as np
import pytest
import tensorflow as tf
from helpers import SMOKE, contents, copied, run, sentence
from page_checks import check_page
from PIL import Image

from singan_tf import config, images
from singan_tf.measure import metrics
from singan_tf.reports import page, report
from singan_tf.runs.display import Monitor
from singan_tf.runs.folder import RunFolder
from singan_tf.runs.tables import Timing


@pytest.fixture
def ours(finished, tmp_path):
    return copied(finished, tmp_path / "rocket")


def test_training_leaves_a_report_that_opens_offline(finished):
    found = check_page(finished / "report" / "index.html")
    for scale in range(3):
        assert f"Scale {scale}:" in found.text
    for name in (
        "critic on real",
        "critic on fake",
        "critic loss",
        "generator loss",
        "reconstruction loss",
        "Frechet distance of patches",
        "noise amplitude",
        "rocket.png",
    ):
        assert name in found.text
    settings = json.loads((finished / "config.json").read_text())["config"]
    for section in settings.values():
        assert all(name in found.text for name in section)
    # Twelve in the sheet, five a scale, three around the map of variance.
    assert len(found.images) == 12 + 3 * 5 + 3


def test_a_photograph_whose_name_is_not_utf_8_is_reported(capsys, ours):
    settings = json.loads((ours / "config.json").read_text())
    settings["image"]["name"] = os.fsdecode(b"caf" + bytes([233]) + b".png")
    (ours / "config.json").write_text(json.dumps(settings))
    status, _, error = run(capsys, "report", f"--run_dir={ours}")
    assert status == 0, error
    assert r"caf\udce9.png" in check_page(ours / "report" / "index.html").text


def test_the_report_shows_the_run_s_own_pictures(finished):
    found = check_page(finished / "report" / "index.html")
    (shown,) = (
        each
        for each in found.images
        if each["alt"].startswith("The reconstruction at scale 1")
    )
    data = base64.b64decode(shown["src"].partition(",")[2])
    expected = Image.open(finished / "scales/01/reconstruction.png").convert("RGB")
    # Pictures this small are kept without loss.
    np.testing.assert_array_equal(Image.open(io.BytesIO(data)), expected)


def test_the_scale_table_has_the_times_and_amplitudes(finished):
    found = check_page(finished / "report" / "index.html").text
    for scale in range(3):
        with open(finished / f"scales/{scale:02d}/timings.csv") as file:
            seconds = sum(float(row["seconds"]) for row in csv.DictReader(file))
        assert page.number(seconds) in found


def test_the_report_can_be_made_again_and_changes_nothing_else(capsys, ours):
    before = contents(ours)
    status, out, _ = run(capsys, "report", f"--run_dir={ours}")
    assert status == 0 and "index.html" in out
    assert contents(ours) == before


@pytest.mark.slow
def test_a_report_that_is_missing_is_made_by_the_same_command(capsys, ours, photograph):
    path = ours / "report" / "index.html"
    expected = path.read_bytes()
    path.unlink()
    arguments = [f"--image={photograph}", f"--run_dir={ours}", SMOKE]
    assert run(capsys, "train", *arguments)[0] == 0
    assert path.read_bytes() == expected


def test_a_run_without_times_and_metrics_has_a_report(ours):
    for name in ("timings.csv", "metrics.csv"):
        for path in ours.glob(f"scales/*/{name}"):
            path.unlink()
    found = check_page(report.write(RunFolder(ours)))
    assert "Frechet" not in found.text and "–" in found.text


@pytest.mark.slow
def test_the_spectrum_has_a_plot_where_it_was_measured(ours):
    # The scales of a small run are smaller than a tile.
    before = check_page(ours / "report" / "index.html").text
    assert "Spectrum" not in before
    for scale, rows in ((1, ["10,0.5,,", "20,0.25,3.25,-1.5"]), (2, ["20,0.5,2,6.75"])):
        lines = ["step,patch_frechet,spectrum_rms,spectrum_worst", *rows]
        path = ours / f"scales/{scale:02d}/metrics.csv"
        path.write_text("\n".join(lines) + "\n")
    path = report.write(RunFolder(ours))
    assert "Frechet" in check_page(path).text
    _, _, table = path.read_text().partition("worst band at the end, dB")
    cells = re.findall(r"<t[dh][^>]*>([^<]+)", table)
    assert cells[:6] == ["1", "3.25", "-1.5", "2", "2", "6.75"]


def test_an_unfinished_run_has_no_report(capsys, ours):
    (ours / "scales/02/state.json").unlink()
    status, _, error = run(capsys, "report", f"--run_dir={ours}")
    assert status == 1 and "not finished" in sentence(error)


def test_the_losses_of_the_legend(finished):
    """The critic's loss is what it minimises, and so is the generator's."""
    with open(finished / "scales/01/losses.csv") as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    settings = RunFolder(finished).read()[0]
    curves = report._loss_curves(RunFolder(finished), settings, 1)
    for step, row in enumerate(rows):
        critic = row["critic_fake"] - row["critic_real"] + 0.1 * row["gradient_penalty"]
        generator = row["adversarial"] + 10 * row["reconstruction"]
        assert curves["critic loss"][step] == pytest.approx(critic, rel=1e-5)
        assert curves["generator loss"][step] == pytest.approx(generator, rel=1e-5)


@pytest.mark.parametrize(
    ("adversary", "weight"),
    [
        # A distance alone stands in the table before its weight, twice 3; sums after.
        ("frechet", 6.0),
        ("sliced_wasserstein+frechet", 1.0),
        ("critic+frechet", 1.0),
    ],
)
def test_the_generators_loss_has_the_weight_of_its_adversary(
    finished, adversary, weight
):
    settings = config.from_settings({"adversary": adversary, "patch_weight": 2.0})
    state = RunFolder(finished).state(1)
    adversarial, error = RunFolder(finished).losses(1, state).T[3:]
    curves = report._loss_curves(RunFolder(finished), settings, 1)
    expected = weight * adversarial + 10 * error
    np.testing.assert_allclose(curves["generator loss"], expected, rtol=1e-5)
    assert ("critic loss" in curves) == ("critic" in adversary)


def test_a_long_curve_is_shown_as_means():
    steps, values = report._thinned(np.arange(10_000.0))
    assert len(steps) == 240
    np.testing.assert_allclose(steps, values)
    steps, values = report._thinned(np.array([3.0, 5.0]))
    assert (steps.tolist(), values.tolist()) == ([0, 1], [3, 5])


def test_the_map_of_variance_is_zero_where_samples_agree():
    rng = np.random.default_rng(0)
    photograph = rng.uniform(-1, 1, [1, 12, 10, 3])
    samples = [photograph.copy() for _ in range(9)]
    for sample in samples:
        sample[:, :, 5:] = rng.uniform(-1, 1, [1, 12, 5, 3])
    found = metrics.variance_map(samples, photograph)
    greys = np.stack([sample[0].mean(axis=-1) for sample in samples])
    expected = greys.var(axis=0, ddof=1) / photograph[0].mean(axis=-1).var(ddof=1)
    np.testing.assert_allclose(found, expected)
    assert found[:, :5].max() < 1e-20 and found[:, 5:].min() > 1e-3
    assert metrics.variance_map(samples[:1], photograph) is None


def test_times_add_up_over_a_resumption(tmp_path):
    """Those of steps after the checkpoint, which are done again, do not count."""
    folder = tmp_path / "scales" / "00"
    folder.mkdir(parents=True)
    kept = "step,steps,seconds,peak_mib\n10,10,1.5,100\n20,10,1,110\n"
    (folder / "timings.csv").write_text(kept + "30,10,7,120\n")
    settings = report.config_lib.from_settings({"steps": 30, "metric_steps": 0})
    watch = Monitor(settings, [(8, 8)], RunFolder(tmp_path))
    watch.start_scale(0, 20)
    watch.step(0, 29, tf.zeros([5]))
    watch.close()
    first, second, third = RunFolder(tmp_path).timings(0)
    assert (first, second) == (
        Timing(10, 10, 1.5, 100),
        Timing(20, 10, 1, 110),
    )
    assert third.steps == 10 and third.seconds < 5 and third.peak_mib > 50


@pytest.mark.parametrize("text", ["", "step,steps\n", "step,steps,seconds,peak_mib\n1"])
def test_times_that_cannot_be_read_are_none(tmp_path, text):
    (tmp_path / "scales" / "00").mkdir(parents=True)
    (tmp_path / "scales" / "00" / "timings.csv").write_text(text)
    assert RunFolder(tmp_path).timings(0) == []


def test_everything_but_markup_is_escaped():
    found = page.document("<b>", [page.table(["<i>"], [["&"]])])
    assert "<title>&lt;b&gt;</title>" in found and "&amp;</td>" in found
    picture = page.picture(np.zeros([4, 4, 3]), '"', "<")
    assert 'alt="&quot;"' in picture and "<figcaption>&lt;" in picture


def test_plots_take_the_page_s_colour_and_share_no_names():
    def draw(axes):
        axes.plot([1, 2])

    plots = [page.plot(draw, name) for name in ("first", "second")]
    for found in plots:
        assert "currentColor" in found and "#010203" not in found
    ids = [set(re.findall(r'id="([^"]+)"', found)) for found in plots]
    assert ids[0] and ids[0].isdisjoint(ids[1])
    assert plots[0] == page.plot(draw, "first")


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.5, "0.5 s"), (61, "1 min 1 s"), (7260, "2 h 1 min")]
)
def test_durations(seconds, words):
    assert page.duration(seconds) == words


def test_a_large_picture_is_shrunk():
    data, size = images.encode(np.zeros([30, 1200, 3]), 400)
    assert size == (400, 10) and Image.open(io.BytesIO(data)).size == size
