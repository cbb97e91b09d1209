import math

import numpy as np
import pytest
import tensorflow as tf
from helpers import pixels, run
from PIL import Image
from pyramids import brought_up, build, clip, random_image
from task_commands import call

from singan_tf import images
from singan_tf.runs import loading
from singan_tf.runs.folder import RunFolder
from singan_tf.tasks import super_resolution


@pytest.mark.parametrize(
    ("factor", "steps"),
    [(1, 1), (1.1, 1), (1.5, 2), (2, 3), (4, 6), (5.7, 8), (16, 12)],
)
def test_super_resolution_goes_in_steps_near_the_cube_root_of_2(factor, steps):
    sizes = super_resolution.super_resolution_sizes(100, 75, factor)
    assert len(sizes) == steps
    assert sizes[-1] == (round(100 * factor), round(75 * factor))
    heights = [100, *(height for height, _ in sizes)]
    ratios = [b / a for a, b in zip(heights, heights[1:])]
    np.testing.assert_allclose(ratios, factor ** (1 / steps), rtol=0.01)


def test_a_factor_below_1_is_refused():
    with pytest.raises(ValueError, match="below 1"):
        super_resolution.super_resolution_sizes(10, 10, 0.99)


@pytest.mark.parametrize("channels", [1, 3])
def test_super_resolution_is_the_finest_stage_again_and_again(make_stage, channels):
    model = build(make_stage, channels)
    image = random_image(12, 9, channels)
    expected, seen = image, []
    for step, size in enumerate([(15, 12), (20, 15), (25, 19)]):
        drawn = model.stages[2].noise([5], 3 + step, *size)
        seen.append(float(drawn[0, 0, 0, 0]))
        expected = clip(model.stages[2](drawn, tf.constant(brought_up(expected, size))))
    assert len(set(seen)) == 3

    def enlarge(seed):
        return super_resolution.super_resolve(model, image, 2.1, seed, 1, False)

    result = enlarge(5)
    assert result.shape == (1, 25, 19, channels)
    np.testing.assert_allclose(result, expected, atol=1e-5)
    np.testing.assert_array_equal(enlarge(5), result)
    assert (enlarge(6) != result).any()


def test_super_resolution_shows_every_step_and_ends_with_the_result(make_stage):
    model = build(make_stage)
    image = random_image(12, 9)
    steps = list(super_resolution.super_resolution(model, image, 2.1, 5))
    sizes = super_resolution.super_resolution_sizes(12, 9, 2.1)
    assert [step.shape for step in steps] == [(1, *size, 3) for size in sizes]
    seeds = tf.constant([5], tf.int64)
    # The graph that is served.
    whole = super_resolution.super_resolver(model)(image, np.float64(2.1), seeds)
    np.testing.assert_array_equal(steps[-1], whole)
    result = super_resolution.super_resolve(model, image, 2.1, 5)
    np.testing.assert_array_equal(steps[-1], result)


def test_strength_is_how_much_a_step_takes_of_what_is_added(make_stage):
    model = build(make_stage)
    image = random_image(12, 9) / 2
    none, half, all_of_it = (
        super_resolution.super_resolve(model, image, 1.3, 5, strength, False)
        for strength in (0, 0.5, 1)
    )
    np.testing.assert_allclose(none, brought_up(image, (16, 12)), atol=1e-6)
    np.testing.assert_allclose(half, (none + all_of_it) / 2, atol=1e-6)


def test_back_projection_keeps_the_image_in_the_result(make_stage):
    """Shrunk again, by Pillow, the result is the image."""
    model = build(make_stage)
    image = random_image(12, 9) / 2

    def lost(back_projection):
        result = super_resolution.super_resolve(model, image, 3, 5, 1, back_projection)
        shrunk = [
            Image.fromarray(result[0, :, :, channel]).resize((9, 12), Image.BICUBIC)
            for channel in range(3)
        ]
        return np.sqrt(np.mean((np.stack(shrunk, axis=-1) - image[0]) ** 2))

    assert lost(back_projection=True) < 0.25 * lost(back_projection=False)


def test_super_resolution_is_measured_beside_bicubic(capsys, tmp_path, finished):
    """PSNR by its formula; bicubic by Pillow's own, where nothing is clipped."""
    photograph = pixels(finished / "pyramid" / "02.png")
    smooth = Image.fromarray(photograph).resize((72, 48), Image.Resampling.BICUBIC)
    reference = np.random.default_rng(0).normal(smooth, 12).clip(0, 255).astype("u1")
    Image.fromarray(reference).save(tmp_path / "reference.png")
    output = tmp_path / "out"
    arguments = [f"--run_dir={finished}", f"--output_dir={output}", "--factor=1.5"]
    status, out, error = run(
        capsys, "super_resolve", *arguments, f"--reference={tmp_path / 'reference.png'}"
    )
    assert status == 0, error
    results = call(output)["results"]
    for name in ("super_resolved", "bicubic"):
        made = pixels(output / f"{name}.png").astype(float)
        assert made.shape == (48, 72, 3)
        error = np.mean((made - reference) ** 2)
        psnr = 10 * math.log10(255**2 / error)
        assert results[name]["psnr"] == pytest.approx(psnr, abs=0.05)
        assert 0 < results[name]["ssim"] <= 1
        assert f", PSNR {results[name]['psnr']:.2f} dB, SSIM " in out
    difference = pixels(output / "bicubic.png")[4:-4, 4:-4].astype(int)
    difference -= np.asarray(smooth)[4:-4, 4:-4]
    assert np.abs(difference).mean() < 1


def test_an_image_like_its_reference_is_called_equal(capsys, tmp_path, finished):
    reference = finished / "pyramid" / "02.png"
    arguments = [f"--run_dir={finished}", f"--reference={reference}", "--factor=1"]
    status, out, _ = run(
        capsys, "super_resolve", *arguments, f"--output_dir={tmp_path}"
    )
    assert status == 0
    assert ", equal, SSIM 1.000" in out
    bicubic = call(tmp_path)["results"]["bicubic"]
    assert (bicubic["psnr"], bicubic["ssim"]) == (None, 1.0)


@pytest.mark.parametrize(
    "flags, settings",
    [
        ([], (0.8, True)),
        (["--noback_projection"], (0.8, False)),
        (["--strength=1"], (1, True)),
    ],
)
def test_super_resolution_as_the_paper_does_it_or_kinder(
    capsys, tmp_path, finished, flags, settings
):
    singan, _ = loading.load(RunFolder(finished))
    photograph = images.read(finished / "pyramid" / "02.png")
    arguments = [f"--run_dir={finished}", f"--output_dir={tmp_path}", "--factor=2"]
    assert run(capsys, "super_resolve", *arguments, *flags)[0] == 0
    expected = super_resolution.super_resolve(singan, photograph, 2.0, 0, *settings)
    np.testing.assert_array_equal(
        pixels(tmp_path / "super_resolved.png"), images.to_uint8(expected[0])
    )


def test_super_resolution_enlarges_another_image_from_its_own_size(
    capsys, tmp_path, finished, inputs
):
    arguments = [f"--run_dir={finished}", f"--input={inputs / 'large.png'}"]
    status, out, _ = run(
        capsys, "super_resolve", *arguments, f"--output_dir={tmp_path}", "--factor=2.5"
    )
    assert status == 0
    assert "keeps its size of 70x45" in out
    assert Image.open(tmp_path / "super_resolved.png").size == (175, 112)


def test_detail_is_the_middle():
    image = np.arange(200 * 90).reshape(1, 200, 90, 1)
    cut = super_resolution.detail(image, 100)
    assert cut.shape == (1, 100, 90, 1)
    assert cut[0, 0, 0, 0] == image[0, 50, 0, 0]
