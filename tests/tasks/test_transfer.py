"""Transfer: colours matched in closed form, then a painting like any other."""

import numpy as np
import pytest
from helpers import pixels, run, sentence
from PIL import Image

from singan_tf import images
from singan_tf.measure import metrics
from singan_tf.tasks import transfer


def coloured(seed, height=20, width=30, channels=3):
    """An image of random colours of its own mean and covariance, far from clipping."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(0, 0.05, [channels, channels])
    values = rng.normal(size=[1, height, width, channels]) @ mixing
    return (values + rng.uniform(-0.2, 0.2, channels)).astype(np.float32)


def rows(image):
    return image.reshape(-1, image.shape[-1]).astype(np.float64)


@pytest.mark.parametrize("channels", [1, 3])
def test_matched_colours_have_the_photograph_s_mean_and_covariance(channels):
    image, photograph = (coloured(seed, channels=channels) for seed in (0, 1))
    matched = transfer.match_colours(image, photograph)
    assert matched.dtype == np.float32 and matched.shape == image.shape
    found, expected = rows(matched), rows(photograph)
    np.testing.assert_allclose(found.mean(axis=0), expected.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(np.cov(found.T), np.cov(expected.T), atol=1e-6)


def test_no_other_map_to_these_colours_moves_them_less():
    """How far is what two Gaussians are apart (Dowson and Landau, 1982)."""
    image, photograph = coloured(2), coloured(3)
    matched = transfer.match_colours(image, photograph)
    moved = rows(matched) - rows(image)
    count = len(moved)
    spread = np.sum((moved - moved.mean(axis=0)) ** 2) / (count - 1)
    found = np.sum(moved.mean(axis=0) ** 2) + spread
    gaussians = [metrics.gaussian(rows(each)) for each in (image, photograph)]
    assert found == pytest.approx(metrics.frechet_distance(*gaussians), rel=1e-3)


def test_a_photograph_keeps_its_own_colours():
    image = coloured(4)
    np.testing.assert_allclose(transfer.match_colours(image, image), image, atol=1e-6)


def test_of_a_grey_image_each_brightness_gets_the_usual_colour_of_it():
    """By a line through the photograph's colours over their brightness."""
    photograph = coloured(5)
    grey = np.repeat(coloured(6, channels=1), 3, axis=-1)
    matched = transfer.match_colours(grey, photograph)
    brightness, there = rows(grey).mean(axis=1), rows(photograph).mean(axis=1)
    standard = (brightness - brightness.mean()) / brightness.std()
    as_bright = there.mean() + there.std() * standard
    for channel in range(3):
        line = np.polyfit(there, rows(photograph)[:, channel], 1)
        expected = np.polyval(line, as_bright)
        np.testing.assert_allclose(rows(matched)[:, channel], expected, atol=1e-4)


def test_colours_stay_within_their_range():
    photograph = coloured(7) + np.float32(0.85)
    matched = transfer.match_colours(coloured(8), np.clip(photograph, -1, 1))
    assert matched.max() == 1 and matched.min() > 0


@pytest.fixture(scope="module")
def cat(tmp_path_factory):
    path = tmp_path_factory.mktemp("cats") / "cat.png"
    Image.open(images.resolve("chelsea")).resize((70, 50)).save(path)
    return path


def test_the_command_paints_what_has_the_photograph_s_colours(
    capsys, tmp_path, finished, cat
):
    def call(name, output, *flags):
        folders = [f"--run_dir={finished}", f"--output_dir={tmp_path / output}"]
        status, _, error = run(capsys, name, *folders, "--seed=4", *flags)
        assert status == 0, error
        return pixels(tmp_path / output / "scale_01.png")

    transferred = call("transfer", "t", f"--input={cat}")
    photograph = images.read(finished / "pyramid" / "02.png")
    given = images.read(tmp_path / "t" / "input.png")
    matched = tmp_path / "t" / "input_matched.png"
    expected = images.to_uint8(transfer.match_colours(given, photograph))[0]
    # The input is rounded to levels here.
    assert np.abs(pixels(matched) - expected.astype(int)).max() <= 3
    painted = call("paint", "p", f"--input={matched}").astype(int)
    assert np.abs(painted - transferred).mean() < 1
    as_it_is = call("transfer", "u", f"--input={cat}", "--nomatch_colours")
    assert not (tmp_path / "u" / "input_matched.png").exists()
    painted = call("paint", "q", f"--input={cat}", "--injection_scale=1")
    np.testing.assert_array_equal(as_it_is, painted)
    assert (as_it_is != transferred).any()


@pytest.mark.parametrize("flag", ["--keep_size", "--nokeep_size"])
def test_one_colour_has_no_layout(capsys, tmp_path, finished, flag):
    Image.new("RGB", (70, 50), (90, 20, 3)).save(tmp_path / "flat.png")
    output = tmp_path / "out"
    arguments = [f"--run_dir={finished}", f"--output_dir={output}", flag]
    status, _, error = run(
        capsys, "transfer", *arguments, f"--input={tmp_path / 'flat.png'}"
    )
    assert status == 1
    assert "flat.png is of one colour everywhere" in sentence(error)
    assert not output.exists()
