"""Tiles: nothing tells where their borders are."""

import numpy as np
import pytest
import tensorflow as tf
from helpers import pixels, run
from pyramids import build, random_image
from task_commands import call

from singan_tf import images
from singan_tf.measure import metrics
from singan_tf.model.resize import resize
from singan_tf.runs import loading
from singan_tf.runs.folder import RunFolder
from singan_tf.tasks import tiling

DOUBLING = [(8, 10), (16, 20), (32, 40)]


def rolled(image, down, across):
    return np.roll(image, (down, across), axis=(1, 2))


def test_resizing_a_rolled_tile_rolls_it():
    image = random_image(12, 14)
    enlarged = tiling.resize_tile(tf.constant(image), (24, 42)).numpy()
    moved = tiling.resize_tile(tf.constant(rolled(image, 5, -3)), (24, 42)).numpy()
    np.testing.assert_allclose(moved, rolled(enlarged, 10, -9), atol=1e-5)
    # Away from the borders, as any image.
    plain = resize(tf.constant(image), 24, 42).numpy()
    inside = np.s_[:, 6:-6, 9:-9]
    np.testing.assert_allclose(enlarged[inside], plain[inside], atol=1e-5)
    shrunk = tiling.resize_tile(tf.constant(enlarged), (12, 21)).numpy()
    moved = tiling.resize_tile(tf.constant(rolled(enlarged, 8, 2)), (12, 21)).numpy()
    np.testing.assert_allclose(moved, rolled(shrunk, 4, 1), atol=1e-5)


def test_the_periodic_component_has_the_photograph_s_differences():
    """On the circle it has the Laplacian that the image has within its borders."""
    image = random_image(9, 12).astype(np.float64)
    found = tiling.periodic_component(image)
    neighbours = [(1, 1), (-1, 1), (1, 2), (-1, 2)]
    laplacian = sum(np.roll(found, *each) - found for each in neighbours)
    expected = np.zeros_like(image)
    for y in range(9):
        for x in range(12):
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= v < 9 and 0 <= u < 12:
                    expected[0, y, x] += image[0, v, u] - image[0, y, x]
    np.testing.assert_allclose(laplacian, expected, atol=1e-9)
    np.testing.assert_allclose(found.mean((1, 2)), image.mean((1, 2)), atol=1e-9)


@pytest.mark.parametrize("padding", ["zeros", "reflect", "noise", "circular"])
def test_rolled_noise_makes_a_rolled_tile(make_stage, padding):
    """Where sizes double, to the pixel; trained with any padding."""
    model = build(make_stage, padding=padding)
    stages = [stage.seamless() for stage in model.stages]
    seeds = tf.constant([3], tf.int64)
    noise_maps = [s.noise(seeds, n, *DOUBLING[n]) for n, s in enumerate(stages)]
    tile = tiling.tile_of(stages, noise_maps, DOUBLING, 3).numpy()
    moved = [
        tf.constant(rolled(noise_map.numpy(), 3 * 2**n, -2 * 2**n))
        for n, noise_map in enumerate(noise_maps)
    ]
    found = tiling.tile_of(stages, moved, DOUBLING, 3).numpy()
    np.testing.assert_allclose(found, rolled(tile, 12, -8), atol=1e-4)
    assert tile.std() > 0.1
    model.sizes = DOUBLING
    np.testing.assert_array_equal(tiling.draw_tile(model, 3, 32, 40), tile)


def lines(tile, photograph):
    """The seams that a tile has where it is cut at any other row or column."""
    height, width = tile.shape[1:3]
    rows = [metrics.seams(rolled(tile, n, 0), photograph)[0] for n in range(height)]
    columns = [metrics.seams(rolled(tile, 0, n), photograph)[1] for n in range(width)]
    return rows, columns


def test_the_seam_of_patches_is_no_edge(scene, patched):
    for seed in range(3):
        tile = tiling.draw_tile(patched, seed, 54, 72)
        seams = metrics.seams(tile, scene)
        for seam, others in zip(seams, lines(tile, scene)):
            assert others[0] == seam <= np.percentile(others, 95)
        # A sample that is no tile has edges.
        assert min(metrics.seams(patched.sample([seed]).numpy(), scene)) > 3


@pytest.mark.slow
def test_the_seam_of_scales_that_are_trained_is_no_edge(trained):
    singan, _ = loading.load(RunFolder(trained))
    photograph = images.read(RunFolder(trained).real(3))
    for seed in range(3):
        tile = tiling.draw_tile(singan, seed, *singan.sizes[-1])
        seams = metrics.seams(tile, photograph)
        # On some processors, brief training leaves stripes of its own.
        for seam, others in zip(seams, lines(tile, photograph)):
            assert seam < max(1.3, np.percentile(others, 95))
        assert tile.std() > 0.3 * photograph.std()


def test_the_command_measures_its_tiles(capsys, tmp_path, finished):
    command = ["tile", f"--run_dir={finished}", f"--output_dir={tmp_path}"]
    size = ["--height=30", "--width=61"]
    status, out, error = run(capsys, *command, *size, "--num_samples=2", "--seed=4")
    assert status == 0, error
    assert "2 tiles of 61x30 pixels" in out
    results = call(tmp_path)["results"]
    photograph = pixels(finished / "pyramid" / "02.png").astype(float)
    found = []
    for seed in (4, 5):
        tile = pixels(tmp_path / f"seed_00000{seed}.png").astype(float)
        assert tile.shape == (30, 61, 3)
        top_bottom = np.mean(abs(tile[0] - tile[-1]))
        left_right = np.mean(abs(tile[:, 0] - tile[:, -1]))
        top_bottom /= np.mean(abs(photograph[1:] - photograph[:-1]))
        left_right /= np.mean(abs(photograph[:, 1:] - photograph[:, :-1]))
        found.append({"top_bottom": top_bottom, "left_right": left_right})
        by_tile = results["seams_by_tile"][f"seed_00000{seed}"]
        assert by_tile == pytest.approx(found[-1], abs=0.02)
    for name, mean in results["seams"].items():
        assert mean == pytest.approx((found[0][name] + found[1][name]) / 2, abs=0.02)
        assert f"{mean:.2f}" in out
