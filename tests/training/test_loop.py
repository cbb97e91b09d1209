import logging
import sys

import numpy as np
import pytest
import tensorflow as tf
from run_folders import assert_same_run, assert_two_devices_do_as_one, measured, train

from singan_tf import config
from singan_tf.errors import UserError
from singan_tf.measure import metrics
from singan_tf.model import pyramid
from singan_tf.runs import loading
from singan_tf.runs.display import Monitor
from singan_tf.runs.folder import RunFolder
from singan_tf.runs.tables import LOSS_COLUMNS
from singan_tf.training.loop import Interrupted

HEADER = "step,sifid,spectrum_rms,spectrum_worst"

pytestmark = pytest.mark.usefixtures("deterministic")


@pytest.mark.slow
def test_training_learns_to_reconstruct_the_photograph(coffee, tmp_path):
    singan = train(coffee, tmp_path, steps=150, width=16, reconstruction_noise="fixed")
    error = singan.reconstruct() - pyramid.image_pyramid(coffee, singan.sizes)[-1]
    # The best constant colour is off by the photograph's standard deviation.
    assert np.sqrt(np.mean(error**2)) < 0.3 * np.std(coffee)


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "drawn_at"), [("redrawn", 3), ("fixed", 0)])
def test_reconstruction_noise_is_the_last_draw_or_the_first(
    coffee, tmp_path, variant, drawn_at
):
    scale = {"num_scales": 1, "min_size": 20}
    kept = train(coffee, tmp_path / "a", reconstruction_noise=variant, **scale)
    only = train(coffee, tmp_path / "b", steps=drawn_at + 1, **scale)
    np.testing.assert_array_equal(kept.reconstruction_noise, only.reconstruction_noise)
    other = train(coffee, tmp_path / "c", steps=2, **scale)
    assert (kept.reconstruction_noise != other.reconstruction_noise).numpy().any()


VARIANTS = [
    {
        "padding": "noise",
        "moving_average": 0.5,
        "learning_rate_schedule": "cosine",
        "mixed_precision": "float16",
        "adversary_gradient": "reused",
    },
    {
        "padding": "circular",
        "residual": False,
        "generator_normalization": "instance",
        "critic_normalization": "instance",
    },
    {"critic_constraint": "spectral", "critic_normalization": "none"},
    {
        "adversary": "0:nearest_neighbor,1-:aligned_nearest_neighbor",
        "patch_count": 50,
        "crop_size": 16,
        "mixed_precision": "bfloat16",
    },
    {
        "adversary": "0:critic+sliced_wasserstein,1-:sliced_wasserstein+frechet",
        "patch_count": 50,
        "crop_size": 16,
        "critic_updates": 2,
        "adversary_gradient": "reused",
        "previous_pool": 2,
        "global_batch_size": 2,
    },
    {
        "adversary": "0:frechet,1-:critic",
        "patch_scales": 1,
        "crop_size": 16,
        "previous_pool": 2,
        "padding": "circular",
        "moving_average": 0.5,
    },
    {
        "crop_size": 16,
        "previous_pool": 3,
        "channels": 1,
        "padding": "0:zeros,1-:reflect",
        "mixed_precision": "bfloat16",
    },
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    VARIANTS,
    ids=str,
)
def test_every_variant_trains_resumes_exactly_and_loads(coffee, tmp_path, settings):
    coffee = coffee[..., : settings.get("channels", 3)]
    trained = train(coffee, tmp_path / "whole", **settings)
    stops = iter([False, True])
    with pytest.raises(Interrupted):
        train(coffee, tmp_path / "cut", lambda: next(stops), **settings)
    train(coffee, tmp_path / "cut", **settings)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    for scale in (0, 1):
        assert measured(tmp_path / "whole", scale) == measured(tmp_path / "cut", scale)
    loaded, _ = loading.load(RunFolder(tmp_path / "cut"))
    sample = trained.sample([7])
    assert np.isfinite(sample).all()
    np.testing.assert_array_equal(loaded.sample([7]), sample)
    np.testing.assert_array_equal(loaded.reconstruct(), trained.reconstruct())


@pytest.mark.slow
def test_two_devices_compute_what_one_does_with_the_same_batch(tmp_path):
    """MirroredStrategy needs logical devices, which a fresh process can make."""
    given = """
        photographs, inside = coffee[:, 100:124, 200:230], None
    """
    distances = {"adversary": "0:sliced_wasserstein,1-:frechet"}
    settings = {**distances, "crop_size": 16, "patch_count": 60}
    assert_two_devices_do_as_one(tmp_path, settings, given)


def test_too_little_memory_is_one_sentence(coffee, tmp_path, monkeypatch):
    def exhausted(*arguments, **options):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    monkeypatch.setattr(tf.random, "stateless_normal", exhausted)
    with pytest.raises(UserError, match="not enough memory; train on crops"):
        train(coffee, tmp_path)


def test_a_full_disk_is_not_taken_for_too_little_memory(coffee, tmp_path):
    def full():
        raise tf.errors.ResourceExhaustedError(
            None, None, "events.v2; No space left on device"
        )

    with pytest.raises(UserError, match="No space left on device") as caught:
        train(coffee, tmp_path, full)
    assert "memory" not in str(caught.value) and "\n" not in str(caught.value)


def test_divergence_is_one_sentence(coffee, tmp_path):
    with pytest.raises(UserError, match="diverged at scale 0.*learning rate"):
        train(coffee, tmp_path, critic_learning_rate=1e30, steps=8)


def test_plain_lines_tell_scale_step_losses_and_time_left(
    coffee, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    with caplog.at_level(logging.INFO, "singan_tf"):
        train(coffee, tmp_path)
    lines = [record.message for record in caplog.records]
    assert any("scale 1 step 4/4" in line and "left" in line for line in lines)
    assert any("gradient_penalty" in line for line in lines)


@pytest.mark.slow
def test_tensorboard_has_the_losses_and_images_of_each_scale(coffee, tmp_path):
    train(coffee, tmp_path)
    found = set()
    for file in tmp_path.glob("events/*"):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            found |= {value.tag for value in event.summary.value}
    for scale in ("scale_00", "scale_01"):
        assert {f"{scale}/{name}" for name in LOSS_COLUMNS} <= found
        assert {f"{scale}/{name}" for name in ("real", "fake")} <= found
        assert f"{scale}/patch_frechet" in found
        # Images of these scales are smaller than a tile.
        assert f"{scale}/spectrum_rms" not in found


@pytest.mark.slow
def test_measuring_samples_leaves_training_as_it_is(coffee, tmp_path):
    train(coffee, tmp_path / "often", metric_steps=1)
    singan = train(coffee, tmp_path / "end", metric_steps=0)
    assert_same_run(tmp_path / "often", tmp_path / "end")
    reals = pyramid.image_pyramid(coffee, singan.sizes)
    for scale, real in enumerate(reals):
        head, *often = measured(tmp_path / "often", scale)
        assert head == "step,patch_frechet,spectrum_rms,spectrum_worst"
        assert [row.split(",")[0] for row in often] == list("1234")
        assert measured(tmp_path / "end", scale) == [head, often[3]]
        sample = singan.coarsest(scale + 1).sample([0]).numpy()
        expected = metrics.patch_frechet(sample, real.numpy())
        assert float(often[3].split(",")[1]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("table", "kept"),
    [
        # Of a process that was killed between a measurement and its checkpoint.
        (f"{HEADER}\n2,0.5,3,-4\n4,0.25,,\n6,9,9,9\n", ["2,0.5,3,-4", "4,0.25,,"]),
        # Of an earlier version.
        ("step,sifid\n2,0.5\n4,0.25\n6,9\n", ["2,0.5,,", "4,0.25,,"]),
        # Damaged.
        (f"{HEADER}\n2,0.5,3\n", []),
        (f"{HEADER},more\n2,0.5,3,4,5\n", []),
        ("step,sifid,spectrum_rms\n2,0.5,3\n", []),
        (f"{HEADER}\n\n", []),
        ("step,patch_frechet\n2,0.5\n", []),
        ("step,sifid\n2,", []),
        ("", []),
        (None, []),
    ],
)
def test_measurements_go_on_where_the_checkpoint_stands(coffee, tmp_path, table, kept):
    def network(image):
        # As Inception, it has nothing to say about what is too small for it.
        return image[0].reshape(-1, 3) if image.shape[1] > 10 else None

    if table is not None:
        (tmp_path / "scales/00").mkdir(parents=True)
        (tmp_path / "scales/00/metrics.csv").write_text(table)
    settings = config.from_settings({"steps": 9, "metric_steps": 2})
    watch = Monitor(settings, [coffee.shape[1:3]], RunFolder(tmp_path), network)
    real, sample = tf.constant(coffee), tf.constant(coffee[:, ::-1] / 2)
    drawn = []

    def draw():
        drawn.append(sample)
        return sample

    watch.start_scale(0, 4)
    for step in range(4, 9):
        watch.measure(0, step, [real], draw)
    assert len(drawn) == 2
    watch.measure(0, 5, [real], lambda: sample * np.nan)
    watch.measure(0, 5, [real], lambda: sample[:, :10])
    watch.finish_scale(0, [real], sample, sample)
    watch.close()
    value = f"{metrics.sifid(network, sample.numpy(), coffee):.9g}"
    new = [f"{step},{value},," for step in (6, 8, 9)]
    assert measured(tmp_path) == [HEADER, *kept, *new]


def test_the_spectrum_is_measured_where_a_tile_fits(tmp_path):
    real = np.random.default_rng(0).uniform(-0.5, 0.5, [1, 64, 70, 3])
    real = tf.constant(real, tf.float32)
    settings = config.from_settings({"steps": 4, "metric_steps": 2})
    run = RunFolder(tmp_path)
    (tmp_path / "scales/00").mkdir(parents=True)

    def watch(first_step):
        watch = Monitor(settings, [(64, 70)], run)
        watch.start_scale(0, first_step)
        for step in range(first_step, 4):
            watch.measure(0, step, [real], lambda: real / 2)
        watch.finish_scale(0, [real], real * 2, real)
        watch.close()

    watch(0)
    half, twice = run.metric(0).points
    # Every band has a quarter of the power, and four times.
    assert half[2:] == pytest.approx((6.0206, -6.0206))
    assert twice[2:] == pytest.approx((6.0206, 6.0206))
    whole = measured(tmp_path)
    watch(2)
    assert measured(tmp_path) == whole
    found = {}
    for file in tmp_path.glob("events/*"):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                found[value.tag, event.step] = value
    for name, expected in (("rms", half[2]), ("worst", half[3])):
        value = tf.make_ndarray(found[f"scale_00/spectrum_{name}", 2].tensor)
        assert value == pytest.approx(expected)
