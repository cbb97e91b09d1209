import numpy as np
import pytest
import tensorflow as tf
from helpers import contents, copied, pixels, run
from pyramids import brought_up, build, random_image
from shapes import disk
from task_commands import HEIGHT, WIDTH, command

import main
from singan_tf import images
from singan_tf.runs import loading
from singan_tf.runs.folder import RunFolder
from singan_tf.tasks import painting


@pytest.fixture(scope="module", params=["zeros", "noise"])
def model(request, make_stage):
    return build(make_stage, padding=request.param)


def test_redrawing_is_injecting(model):
    image = random_image(13, 17)
    expected = model.inject(tf.constant(image), 1, [7]).numpy()
    np.testing.assert_array_equal(painting.redraw(model, image, 1, 7), expected)
    assert (painting.redraw(model, image, 1, 8) != expected).any()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_palette_finds_the_colours_of_an_image(channels):
    rng = np.random.default_rng(0)
    colours = np.linspace(-0.9, 0.9, 5 * channels).reshape(5, channels)
    pixels = colours[rng.integers(0, 5, 600)] + rng.normal(0, 0.01, [600, channels])
    image = pixels.reshape(1, 20, 30, channels).astype(np.float32)
    palette = painting.find_palette(image, 5)
    assert palette.dtype == np.float32
    np.testing.assert_allclose(np.sort(palette, axis=0), colours, atol=0.01)
    np.testing.assert_array_equal(painting.find_palette(image, 5), palette)


def test_a_palette_has_no_more_colours_than_the_image():
    image = np.ones([1, 6, 6, 3], np.float32)
    image[:, :3] = -0.5
    palette = painting.find_palette(image, 5)
    np.testing.assert_allclose(np.sort(palette[:, 0]), [-0.5, 1])


def test_snapping_takes_the_nearest_colour_of_each_pixel():
    image = random_image(5, 6)
    palette = np.random.default_rng(1).uniform(-1, 1, [4, 3]).astype(np.float32)
    found = painting.snap(image, palette)
    for pixel, snapped in zip(image.reshape(-1, 3), found.reshape(-1, 3)):
        nearest = min(palette, key=lambda colour: np.sum((pixel - colour) ** 2))
        np.testing.assert_array_equal(snapped, nearest)


def test_an_image_enters_as_blurred_as_the_scale_below(model):
    image = random_image(32, 40)
    expected = brought_up(brought_up(image, (16, 20)), (22, 28))
    entered = painting.entering(model, image, 1)
    np.testing.assert_allclose(entered, expected, atol=1e-5)


def test_a_palette_is_of_the_pixels_inside():
    image = random_image(12, 14)
    inside = disk(12, 14, 6, 7, 4)
    other = np.where(inside[:, :, np.newaxis], image, 0.9).astype(np.float32)
    palette = painting.find_palette(image, 3, inside)
    np.testing.assert_array_equal(painting.find_palette(other, 3, inside), palette)
    pixels = image[0][inside].astype(np.float64)
    nearest = ((pixels[:, np.newaxis] - palette) ** 2).sum(axis=-1).argmin(axis=1)
    means = [pixels[nearest == each].mean(axis=0) for each in range(3)]
    np.testing.assert_allclose(palette, means, atol=0.05)


@pytest.fixture(scope="module")
def quantized(tmp_path_factory, finished, inputs):
    before = contents(finished)
    output = tmp_path_factory.mktemp("quantized") / "out"
    arguments = command("paint", finished, inputs, output)
    arguments += ["--quantize", "--injection_scale=1"]
    assert main.main(["main.py", *arguments]) == 0
    assert contents(finished) == before
    return output


def test_a_quantized_painting_has_the_main_colours(quantized, finished):
    """The painting enters in 5 colours, each pixel in the one nearest to it."""
    singan, _ = loading.load(RunFolder(finished))
    last = images.read(finished / "pyramid" / "02.png")
    palette = painting.find_palette(painting.entering(singan, last, 1), 5)
    image = images.read(quantized / "input.png")
    entered = painting.entering(singan, image, 1)[0]
    expected = np.empty_like(entered)
    for y in range(entered.shape[0]):
        for x in range(entered.shape[1]):
            distances = [np.sum((entered[y, x] - c) ** 2) for c in palette]
            expected[y, x] = palette[np.argmin(distances)]
    found = pixels(quantized / "input_quantized.png")
    np.testing.assert_array_equal(found, images.to_uint8(expected))


def test_the_quantized_scale_is_trained_beside_the_original(quantized, finished):
    trained = quantized / "quantized" / "scales" / "01"
    lines = (trained / "losses.csv").read_text().splitlines()
    assert len(lines) == len((finished / "scales/01/losses.csv").read_text().split())
    variables = [
        dict(tf.train.list_variables(str(folder / "step-000005-finished")))
        for folder in (trained, finished / "scales" / "01")
    ]
    palette = "stage/palette/.ATTRIBUTES/VARIABLE_VALUE"
    assert variables[0].pop(palette) == [5, 3]
    assert variables[0] == variables[1]
    original, other = (
        pixels(quantized / name) for name in ("scale_01.png", "scale_01_quantized.png")
    )
    assert original.shape == other.shape == (HEIGHT, WIDTH, 3)
    assert (original != other).any()


def test_quantizing_again_gives_the_same(capsys, tmp_path, quantized, finished, inputs):
    output = copied(quantized, tmp_path / "out")
    arguments = command("paint", finished, inputs, output)
    arguments += ["--quantize", "--injection_scale=1"]
    status, _, error = run(capsys, *arguments, "--overwrite")
    assert status == 0, error
    for name in ("scale_01_quantized.png", "quantized/scales/01/losses.csv"):
        assert (output / name).read_bytes() == (quantized / name).read_bytes()


@pytest.mark.slow
def test_quantizing_works_in_grey(capsys, tmp_path, grey, inputs):
    arguments = command("paint", grey, inputs, tmp_path)
    arguments += ["--quantize", "--injection_scale=2"]
    status, _, error = run(capsys, *arguments)
    assert status == 0, error
    assert pixels(tmp_path / "scale_02_quantized.png").shape == (HEIGHT, WIDTH)


def test_a_painting_in_the_photograph_s_main_colours(
    capsys, tmp_path, finished, inputs
):
    arguments = command("paint", finished, inputs, tmp_path / "a")
    status, _, error = run(capsys, *arguments, "--palette=4")
    assert status == 0, error
    colours = np.unique(pixels(tmp_path / "a/palette.png").reshape(-1, 3), axis=0)
    assert len(colours) == 4
    snapped = tmp_path / "a/input_palette.png"
    assert {tuple(c) for c in pixels(snapped).reshape(-1, 3)} <= set(
        map(tuple, colours)
    )
    # They stand for the photograph, which has no other pixel so far from each.
    photograph = pixels(finished / "pyramid" / "02.png").reshape(-1, 1, 3).astype(int)
    distances = np.linalg.norm(photograph - colours, axis=-1)
    assert len(set(distances.argmin(axis=1))) == 4
    spread = np.linalg.norm(photograph[:, 0] - photograph.mean(axis=(0, 1)), axis=-1)
    assert distances.min(axis=1).mean() < 0.5 * spread.mean()
    arguments = command("paint", finished, inputs, tmp_path / "b")
    arguments[-1] = f"--input={snapped}"
    assert run(capsys, *arguments)[0] == 0
    first, second = (pixels(tmp_path / f"{x}/scale_01.png").astype(int) for x in "ab")
    # The palette is rounded to levels in the second.
    assert np.abs(first - second).mean() < 1


@pytest.mark.slow
def test_the_higher_the_injection_scale_the_more_of_an_image_stays(trained):
    singan, _ = loading.load(RunFolder(trained))
    coffee = images.read(images.resolve("coffee"))[:, ::8, ::8]
    likeness = []
    for scale in (1, 2, 3):
        redrawn = painting.redraw(singan, coffee, scale, 0)
        likeness.append(np.corrcoef(redrawn.ravel(), coffee.ravel())[0, 1])
    assert likeness == sorted(likeness)
