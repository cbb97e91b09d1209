import sys

import numpy as np
import pytest
import tensorflow as tf
from helpers import run, sentence
from PIL import Image
from pyramids import SIZES, brought_up, build, clip
from task_commands import call

from singan_tf import images
from singan_tf.model import noise
from singan_tf.model.singan import SinGAN
from singan_tf.model.stage import Stage
from singan_tf.runs import loading
from singan_tf.runs.folder import RunFolder
from singan_tf.tasks import animation
from singan_tf.tasks.animation import Walk

WALK = Walk(start_scale=0, alpha=0.1, beta=0.9, frames=6, loop=False, seed=4)


@pytest.fixture(scope="module", params=["zeros", "noise"])
def model(request, make_stage):
    return build(make_stage, padding=request.param)


def drawn_noise(model, scale, frame, seed):
    seeds = noise.derive_seeds(seed, frame, 1)
    return model.stages[scale].noise(seeds, scale, *SIZES[scale]).numpy()


def frames_of(model, walk, periods=0):
    """The frames by the paper's own formula, after some periods of a loop."""
    states = []
    for scale in range(walk.start_scale, 3):
        zeros = np.zeros_like(drawn_noise(model, scale, 0, walk.seed))
        z_star = model.reconstruction_noise.numpy() if scale == 0 else zeros
        states.append((scale, z_star, z_star, z_star))
    count = periods * walk.frames
    for t in range(count + walk.frames):
        if t > 0:
            frame = (t - 1) % walk.frames + 1
            states = [
                (
                    scale,
                    star,
                    walk.alpha * star
                    + (1 - walk.alpha)
                    * (
                        z
                        + walk.beta * (z - before)
                        + (1 - walk.beta) * drawn_noise(model, scale, frame, walk.seed)
                    ),
                    z,
                )
                for scale, star, z, before in states
            ]
        if t < count:
            continue
        image = np.zeros([1, *SIZES[0], model.channels], np.float32)
        if walk.start_scale:
            image = model.reconstructions(walk.start_scale)[-1].numpy()
        for scale, _, z, _ in states:
            previous = tf.constant(brought_up(image, SIZES[scale]))
            image = clip(model.stages[scale](tf.constant(z), previous).numpy())
        yield image


@pytest.mark.parametrize("start_scale", [0, 1, 2])
def test_an_animation_is_the_walk_of_the_paper(model, start_scale):
    walk = WALK._replace(start_scale=start_scale)
    frames = list(animation.animate(model, walk))
    assert len(frames) == 6
    np.testing.assert_allclose(frames[0], model.reconstruct(), atol=1e-5)
    for frame, expected in zip(frames, frames_of(model, walk)):
        np.testing.assert_allclose(frame, expected, atol=1e-4)
    assert np.abs(frames[5] - frames[0]).mean() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("start_scale", [0, 2])
def test_a_loop_is_the_walk_that_returns_to_itself(model, start_scale):
    walk = WALK._replace(start_scale=start_scale, loop=True)
    frames = list(animation.animate(model, walk))
    # Whatever it started from, the walk forgets: by then it only repeats.
    for frame, expected in zip(frames, frames_of(model, walk, periods=40)):
        np.testing.assert_allclose(frame, expected, atol=1e-3)
    assert np.abs(frames[3] - frames[0]).mean() > 0.01


def test_a_loop_has_the_spread_of_the_open_walk(make_stage):
    """The variance of an autoregressive process of order 2, by Box and Jenkins."""
    alpha, beta = WALK.alpha, WALK.beta
    phi1, phi2 = (1 - alpha) * (1 + beta), -(1 - alpha) * beta
    variance = ((1 - alpha) * (1 - beta)) ** 2 * (1 - phi2)
    variance /= (1 + phi2) * ((1 - phi2) ** 2 - phi1**2)

    class Noise(Stage):
        """A stage that shows its noise."""

        def noise(self, seeds, stream, height, width):
            return noise.normal(seeds, stream, [height, width, 1])

        def __call__(self, noise_map, previous):
            return noise_map / 4

    model = SinGAN([(100, 100)], 1)
    model.stages.append(Noise())
    model.reconstruction_noise = tf.zeros([1, 100, 100, 1])
    walk = WALK._replace(loop=True, frames=60)
    spreads = [np.var(4 * frame) for frame in animation.animate(model, walk)]
    np.testing.assert_allclose(np.mean(spreads), variance, rtol=0.05)


def test_full_pull_stands_still_in_the_photograph(model):
    for frame in animation.animate(model, WALK._replace(alpha=1.0)):
        np.testing.assert_allclose(frame, model.reconstruct(), atol=1e-5)


def test_an_animation_is_a_function_of_its_seed(model):
    first, again, other = (
        list(animation.animate(model, WALK._replace(seed=s)))[-1] for s in (4, 4, 5)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize(
    "change", [{"start_scale": 3}, {"start_scale": -1}, {"loop": True, "alpha": 0}]
)
def test_an_impossible_walk_is_refused(model, change):
    with pytest.raises(ValueError):
        next(animation.animate(model, WALK._replace(**change)))


def test_frame_differences_are_in_levels_and_close_a_loop():
    frames = [np.full([4, 5, 3], value, np.uint8) for value in (0, 10, 250)]
    differences = animation.frame_differences(frames, loop=False)
    np.testing.assert_array_equal(differences, [10, 240])
    differences = animation.frame_differences(frames, loop=True)
    np.testing.assert_array_equal(differences, [10, 240, 250])


def test_a_loop_that_cannot_close_is_refused(capsys, finished):
    arguments = [f"--run_dir={finished}", "--loop", "--alpha=0"]
    status, _, error = run(capsys, "animate", *arguments)
    assert status == 2
    assert "--alpha=0 never comes back" in sentence(error)


@pytest.mark.slow
def test_an_animation_says_how_smooth_it_is_and_closes_its_loop(
    capsys, tmp_path, trained
):
    arguments = [f"--run_dir={trained}", "--frames=12", "--loop", "--fps=20"]
    status, out, error = run(
        capsys, "animate", *arguments, "--start_scale=0", f"--output_dir={tmp_path}"
    )
    assert status == 0, error
    results = call(tmp_path)["results"]
    assert 0 < results["mean_difference"] < 255
    assert 1 <= results["largest_over_median"] < 3
    assert f"{results['mean_difference']:.2f} of 255 levels" in out
    for name in ("animation.webp", "animation.gif"):
        animation = Image.open(tmp_path / name)
        assert animation.n_frames == 12
        assert animation.size == (64, 43)
        assert animation.info["loop"] == 0
        animation.seek(1)
        animation.load()
        assert animation.info["duration"] == 50


@pytest.mark.parametrize(
    ("still", "way_out"),
    [
        (["--alpha=1"], "--alpha below 1."),
        (["--beta=1", "--loop"], "--beta below 1."),
        (["--alpha=1", "--beta=1"], "--alpha below 1 and --beta below 1."),
        # A thousandth of a thousandth of the noise.
        (
            ["--alpha=0.999", "--beta=0.999"],
            "a lower --start_scale, --alpha or --beta.",
        ),
    ],
)
def test_an_animation_that_stands_still_says_so(
    capsys, tmp_path, finished, still, way_out
):
    arguments = [f"--run_dir={finished}", "--frames=3", *still]
    status, out, _ = run(capsys, "animate", *arguments, f"--output_dir={tmp_path}")
    assert status == 0
    assert f"hardly move; choose {way_out}" in out
    assert call(tmp_path)["results"]["largest_over_median"] is None


def test_without_a_codec_the_missing_film_is_one_sentence(
    capsys, tmp_path, finished, monkeypatch
):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    arguments = [f"--run_dir={finished}", "--frames=2", f"--output_dir={tmp_path}"]
    status, out, _ = run(capsys, "animate", *arguments)
    assert status == 0
    assert "pip install imageio-ffmpeg" in out
    assert not (tmp_path / "animation.mp4").exists()


def test_a_film_where_there_is_a_codec(capsys, tmp_path, finished):
    reader = pytest.importorskip("imageio_ffmpeg")
    arguments = [f"--run_dir={finished}", "--frames=5", f"--output_dir={tmp_path}"]
    assert run(capsys, "animate", *arguments)[0] == 0
    count, seconds = reader.count_frames_and_secs(str(tmp_path / "animation.mp4"))
    assert (count, seconds) == (5, 0.5)


@pytest.mark.slow
def test_a_trained_animation_moves_without_jumps(trained):
    singan, _ = loading.load(RunFolder(trained))
    walk = animation.Walk(1, 0.1, 0.9, 30, True, 0)
    frames = [images.to_uint8(f[0]) for f in animation.animate(singan, walk)]
    differences = animation.frame_differences(frames, walk.loop)
    assert differences.max() < 3 * np.median(differences)
