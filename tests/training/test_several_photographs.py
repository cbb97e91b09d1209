"""One model of several photographs, against photographs alone and against NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from helpers import contents
from PIL import Image
from run_folders import assert_same_run, train, weights
from scipy import linalg

from singan_tf import config, images, presets
from singan_tf.errors import UserError
from singan_tf.model import pyramid
from singan_tf.model.patch_stage import PatchStage
from singan_tf.model.singan import bring_up
from singan_tf.runs import loading
from singan_tf.runs.folder import RunFolder
from singan_tf.training import draws, patch_losses
from singan_tf.training.session import Interrupted

pytestmark = pytest.mark.usefixtures("deterministic")


@pytest.fixture(scope="module")
def textures():
    """Bricks and gravel, of different sizes, grey in three channels."""
    return [texture("brick", 40, 52), texture("gravel", 48, 38)]


def texture(name, height, width):
    picture = Image.open(images.resolve(name)).convert("RGB").resize((128, 128))
    pixels = np.asarray(picture)[None, :height, :width].astype(np.float32)
    return pixels / 127.5 - 1


def windows(image, side=7):
    """All patches of [1, H, W, C], [N, side * side * C]."""
    found = np.lib.stride_tricks.sliding_window_view(image[0], (side, side), (0, 1))
    return found.reshape(-1, side * side * image.shape[3]).astype(float)


def nearest(found, among):
    """Squared distance of each patch from the nearest of others."""
    squares = (found**2).sum(1)[:, None] + (among**2).sum(1) - 2 * found @ among.T
    return squares.min(1)


@pytest.mark.slow
def test_a_step_is_that_of_the_photograph_that_it_takes(textures, tmp_path):
    """A seed whose first step takes the first one trains as on that one alone."""
    one_scale = {"num_scales": 1, "min_size": 40, "max_size": 52, "steps": 1}
    seed = next(s for s in range(99) if draws.photograph_of(s, 0, 0, 2) == 0)
    alone = train(textures[0], tmp_path / "alone", seed=seed, **one_scale)
    both = train(textures, tmp_path / "both", seed=seed, **one_scale)
    for found, expected in zip(weights(both), weights(alone)):
        np.testing.assert_array_equal(found, expected)
    other = next(s for s in range(99) if draws.photograph_of(s, 0, 0, 2) == 1)
    alone = train(textures[0], tmp_path / "alone2", seed=other, **one_scale)
    both = train(textures, tmp_path / "both2", seed=other, **one_scale)
    pairs = zip(weights(both), weights(alone))
    assert any((found != expected).any() for found, expected in pairs)


def test_steps_take_all_photographs_about_as_often_and_one_is_never_drawn():
    taken = [draws.photograph_of(3, 1, step, 3) for step in range(600)]
    assert min(np.bincount(taken, minlength=3)) > 150
    assert taken == [draws.photograph_of(3, 1, step, 3) for step in range(600)]
    assert taken != [draws.photograph_of(4, 1, step, 3) for step in range(600)]
    assert {draws.photograph_of(3, 1, step, 1) for step in range(9)} == {0}


def test_scales_have_the_factors_of_the_first_photograph():
    settings = config.from_settings({"max_size": 100, "min_size": 20})
    first, wide, large = pyramid.plan_all([(80, 90), (84, 120), (400, 300)], settings)
    assert first == pyramid.plan_scales(80, 90, settings.pyramid).sizes
    factor = pyramid.plan_scales(80, 90, settings.pyramid).factor
    assert (wide[-1], large[-1]) == ((70, 100), (100, 75))
    for sizes in (wide, large):
        assert len(sizes) == len(first)
        for below, above in zip(sizes, sizes[1:]):
            np.testing.assert_allclose(np.divide(below, above), factor, atol=0.06)
    with pytest.raises(UserError, match="shortest side first"):
        pyramid.plan_all([(80, 90), (30, 100)], settings)


@pytest.mark.slow
def test_the_noise_amplitude_is_from_the_errors_of_all(textures, tmp_path):
    trained = train(textures, tmp_path, max_size=52, noise_amplitude_weight=0.3)
    errors = []
    for photograph, each in zip(textures, trained.each()):
        real = pyramid.image_pyramid(tf.constant(photograph), each.sizes)[1]
        below = bring_up(each.reconstructions(1)[0], each.sizes[1])
        errors.append(np.mean((real.numpy() - below.numpy()) ** 2))
    expected = 0.3 * np.sqrt(np.mean(errors))
    np.testing.assert_allclose(trained.stages[1].noise_amplitude, expected, rtol=1e-4)


@pytest.mark.slow
def test_each_photograph_is_reconstructed(textures, tmp_path):
    settings = {"width": 16, "steps": 150, "reconstruction_noise": "fixed"}
    settings.update(max_size=52, reconstruction_weight=50)
    trained = train(textures, tmp_path, **settings)
    loaded, _ = loading.load(RunFolder(tmp_path))
    for number, each in enumerate(loaded.each()):
        made = each.reconstruct().numpy()
        real = images.read(RunFolder(tmp_path).real(1, number))
        assert made.shape == real.shape
        error = np.mean((made - real) ** 2)
        # Of an image of one colour it would be the variance.
        assert error < 0.3 * real.var(), number
        again = trained.of(number).reconstruct()
        np.testing.assert_array_equal(made, again)
        written = images.read(RunFolder(tmp_path).reconstruction(1, number))
        np.testing.assert_allclose(written, made, atol=0.005)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"patch_scales": 1, "previous_pool": 2, "crop_size": 16, "keep_best": 2},
        {"adversary": "sliced_wasserstein", "patch_scales": 1},
    ],
)
def test_an_interrupted_run_ends_with_the_same_bits(textures, tmp_path, settings):
    settings = {"max_size": 52, "checkpoint_seconds": 3600, **settings}
    whole = train(textures, tmp_path / "whole", **settings)
    for count in (2, 99):
        asked = iter(range(99))

        def stop(asked=asked, count=count):
            return next(asked) + 1 >= count

        try:
            parted = train(textures, tmp_path / "parted", stop, **settings)
        except Interrupted:
            continue
    assert_same_run(tmp_path / "whole", tmp_path / "parted")
    for first, second in zip(whole.each(), parted.each()):
        np.testing.assert_array_equal(first.reconstruct(), second.reconstruct())
    loaded, _ = loading.load(RunFolder(tmp_path / "parted"))
    np.testing.assert_array_equal(loaded.sample([5]), whole.sample([5]))
    names = {path.name for path in (tmp_path / "whole" / "pyramid").iterdir()}
    assert names == {"00.png", "00-2.png", "01.png", "01-2.png"}


@pytest.mark.slow
def test_samples_of_patches_have_patches_of_both(textures, tmp_path):
    """By NumPy: which photograph has the patch nearest to each of the samples'."""
    trained = train(textures, tmp_path, patch_scales=2, max_size=52, num_scales=2)
    samples = [trained.sample([seed]).numpy() for seed in range(8)]
    first, second = (windows(image) for image in textures)
    shares = []
    for sample in samples:
        found = windows(sample)[::3]
        shares.append((nearest(found, first) < nearest(found, second)).mean())
    assert 0.15 < np.mean(shares) < 0.85
    # A layout is one photograph's: each has samples of its own.
    assert min(shares) < 0.2 and max(shares) > 0.8


@pytest.mark.slow
def test_samples_of_the_quick_preset_have_patches_of_both(textures, tmp_path):
    settings = {**presets.preset("quick"), "steps": 40, "keep_best": 20}
    settings.update(max_size=52, min_size=16, num_scales=4, crop_size=24)
    settings["patch_scales"] = 3
    trained = train(textures, tmp_path, **settings)
    first, second = (windows(image) for image in textures)
    shares = []
    for seed in range(8):
        found = windows(trained.sample([seed]).numpy())[::3]
        shares.append((nearest(found, first) < nearest(found, second)).mean())
    assert 0.15 < np.mean(shares) < 0.85


def test_noise_chooses_a_photograph_whatever_it_is_multiplied_by():
    stage = PatchStage((9, 9), 1, 1, 0.1, True, False, further_sizes=[(9, 12), (8, 8)])
    for number, real in enumerate(stage.reals):
        stage.remember(tf.fill(real.shape, float(number) / 2), real, number)
    noise_map = stage.noise(tf.range(60, dtype=tf.int64), 0, 9, 9)
    previous = tf.zeros([60, 9, 9, 1])
    made = stage(noise_map, previous).numpy().mean((1, 2, 3))
    levels, counts = np.unique(made.round(3), return_counts=True)
    np.testing.assert_allclose(levels, [0, 0.5, 1])
    assert counts.min() > 8
    for factor in (0.25, 4.0):
        again = stage(factor * noise_map, previous).numpy().mean((1, 2, 3))
        np.testing.assert_allclose(again, made, atol=1e-6)
    still = stage(stage.of_first(noise_map), previous)
    np.testing.assert_array_equal(still, tf.zeros_like(previous))
    np.testing.assert_array_equal(stage(None, previous), tf.zeros_like(previous))


def gaussians(found):
    return found.mean(0), np.cov(found.T)


@pytest.mark.parametrize("whole", [True, False])
def test_distances_are_to_the_patches_of_all_photographs(textures, whole):
    """Frechet's in closed form over all patches, the nearest neighbour's by search."""
    reals = [image[:, :17, :19, :1] for image in textures]
    reals[1] = reals[1][:, :15, :12]
    fake = np.random.default_rng(0).uniform(-1, 1, (1, 14, 13, 1)).astype(np.float32)
    settings = config.AdversaryConfig(patch_size=3, patch_count=0)
    seeds = tf.constant([4], tf.int64)
    together = np.concatenate([windows(image, 3) for image in reals])
    mine = windows(fake, 3)

    def found(name):
        distance = patch_losses.make(settings, name, reals if whole else None)
        return float(distance(fake, None if whole else reals, seeds)[0])

    np.testing.assert_allclose(
        found("nearest_neighbor"), nearest(mine, together).mean() / 9, rtol=1e-4
    )
    (m1, s1), (m2, s2) = gaussians(together), gaussians(mine)
    root = linalg.sqrtm(s1 @ s2).real
    frechet = ((m1 - m2) ** 2).sum() + np.trace(s1 + s2 - 2 * root)
    np.testing.assert_allclose(found("frechet"), frechet / 9, rtol=1e-3)
    # Its directions are its own: a mixture is nearer than either part of it.
    mixed = np.concatenate([reals[0][:, :12, :12], reals[1][:, :12, :12]], axis=2)
    wasserstein = patch_losses.make(settings, "sliced_wasserstein", None)
    parts = [reals[0][:, :12, :12], reals[1][:, :12, :12]]
    both = float(wasserstein(mixed, parts, seeds)[0])
    assert both < 0.5 * min(float(wasserstein(mixed, [x], seeds)[0]) for x in parts)
    assert np.isfinite(found("aligned_nearest_neighbor"))


@pytest.mark.slow
def test_one_photograph_leaves_what_it_always_did(textures, tmp_path):
    train(textures[0], tmp_path / "one", max_size=52)
    train([textures[0]], tmp_path / "list", max_size=52)
    assert_same_run(tmp_path / "one", tmp_path / "list")
    found, again = (contents(tmp_path / name) for name in ("one", "list"))
    shown = {path for path in found if path.suffix in (".png", ".json")}
    assert {path: found[path] for path in shown} == {p: again[p] for p in shown}
    assert b'"format": 1' in (tmp_path / "one" / "config.json").read_bytes()
