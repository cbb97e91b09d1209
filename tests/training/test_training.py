import csv
import json
import logging
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf
from run_folders import TINY, assert_same_run, stored

from singan_tf import config, images
from singan_tf.errors import UserError
from singan_tf.measure import metrics
from singan_tf.model import pyramid
from singan_tf.model.resize import resize
from singan_tf.model.singan import bring_up
from singan_tf.runs import checkpoint, monitor
from singan_tf.training import distribution
from singan_tf.training import loop as training


@pytest.fixture(scope="module", autouse=True)
def deterministic():
    tf.config.experimental.enable_op_determinism()


@pytest.fixture(scope="module")
def photograph():
    coffee = images.read(images.resolve("coffee"))
    return coffee[:, 100:124, 200:230]


def train(photograph, run_dir, should_stop=lambda: False, network=None, **settings):
    settings = config.from_settings({**TINY, **settings})
    facts = checkpoint.Photograph("coffee.png", *photograph.shape[1:3], "0" * 64)
    sizes = checkpoint.run_scales(settings, facts).sizes
    with checkpoint.open_run(run_dir, settings, facts, overwrite=False):
        watch = monitor.Monitor(settings, sizes, run_dir)
        try:
            return training.train(photograph, settings, run_dir, watch, should_stop)
        finally:
            watch.close()


def weights(singan, scale=0):
    return singan.stages[scale].generator.get_weights()


def test_noise_amplitude_is_weight_times_rmse():
    rng = np.random.default_rng(0)
    real, reconstruction = rng.normal(size=[2, 1, 5, 6, 3]).astype(np.float32)
    expected = 0.1 * np.sqrt(np.mean((real - reconstruction) ** 2))
    found = training.noise_amplitude(real, reconstruction, 0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("step", {0: 5e-4, 4799: 5e-4, 4800: 5e-5, 5999: 5e-5}),
        ("constant", {0: 5e-4, 5999: 5e-4}),
        # Half a cosine from 5e-4 to 5e-5 over 6000 updates.
        ("cosine", {0: 5e-4, 3000: 2.75e-4, 6000: 5e-5}),
    ],
)
def test_learning_rate_follows_its_schedule_over_updates(schedule, rates):
    settings = config.TrainingConfig(learning_rate_schedule=schedule)
    rate_at = training.learning_rate_schedule(settings, 5e-4, updates=3)
    for update, rate in rates.items():
        np.testing.assert_allclose(rate_at(update), rate, rtol=1e-5)


@pytest.mark.slow
def test_training_learns_to_reconstruct_the_photograph(photograph, tmp_path):
    singan = train(
        photograph, tmp_path, steps=150, width=16, reconstruction_noise="fixed"
    )
    error = singan.reconstruct() - pyramid.image_pyramid(photograph, singan.sizes)[-1]
    # The best constant colour is off by the photograph's standard deviation.
    assert np.sqrt(np.mean(error**2)) < 0.3 * np.std(photograph)


@pytest.mark.slow
def test_scales_of_the_same_width_start_from_the_scale_below(photograph, tmp_path):
    rates = {"generator_learning_rate": 0.0, "critic_learning_rate": 0.0}
    still = {**rates, "generator_normalization": "none", "steps": 1}
    same = train(photograph, tmp_path / "same", **still)
    for below, above in zip(weights(same, 0), weights(same, 1)):
        np.testing.assert_array_equal(below, above)
    wider = train(photograph, tmp_path / "wider", width_doubling=1, **still)
    assert weights(wider, 1)[0].shape[-1] == 2 * weights(wider, 0)[0].shape[-1]
    np.testing.assert_array_equal(weights(same, 0)[0], weights(wider, 0)[0])


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "drawn_at"), [("redrawn", 3), ("fixed", 0)])
def test_reconstruction_noise_is_the_last_draw_or_the_first(
    photograph, tmp_path, variant, drawn_at
):
    scale = {"num_scales": 1, "min_size": 20}
    kept = train(photograph, tmp_path / "a", reconstruction_noise=variant, **scale)
    only = train(photograph, tmp_path / "b", steps=drawn_at + 1, **scale)
    np.testing.assert_array_equal(kept.reconstruction_noise, only.reconstruction_noise)
    other = train(photograph, tmp_path / "c", steps=2, **scale)
    assert (kept.reconstruction_noise != other.reconstruction_noise).numpy().any()


@pytest.mark.slow
def test_the_moving_average_is_that_of_the_weights_after_each_step(
    photograph, tmp_path
):
    decay = 0.7
    one_scale = {"num_scales": 1, "min_size": 20, "learning_rate_schedule": "constant"}
    # Before batch norm a bias has only rounding errors for a gradient, and Adam
    # magnifies them.
    one_scale["generator_normalization"] = one_scale["critic_normalization"] = "none"
    after = [
        weights(train(photograph, tmp_path / str(n), steps=n, **one_scale))
        for n in (1, 2, 3)
    ]
    settings = config.from_settings({**TINY, **one_scale})
    average = training._make_players(settings, 0).stage.generator.get_weights()
    for step in after:
        average = [decay * a + (1 - decay) * w for a, w in zip(average, step)]
    averaged = train(
        photograph, tmp_path / "averaged", steps=3, moving_average=decay, **one_scale
    )
    trainable = averaged.stages[0].generator.trainable_variables
    names = [v.name for v in averaged.stages[0].generator.variables]
    for variable in trainable:
        expected = average[names.index(variable.name)]
        np.testing.assert_allclose(variable, expected, atol=1e-5)


def test_a_step_is_the_recipe_written_out(photograph, tmp_path):
    """One step at scale 0 against plain NumPy Adam on the written-out losses."""
    settings = {"critic_updates": 2, "generator_updates": 2, "num_scales": 1}
    settings.update(min_size=20, steps=1, gradient_penalty_weight=0.3)
    settings.update(generator_normalization="none", critic_normalization="none")
    trained = train(photograph, tmp_path, **settings)
    full = config.from_settings({**TINY, **settings})
    stage, critic, _, _ = training._make_players(full, 0)
    size = trained.sizes[0]
    real = pyramid.image_pyramid(photograph, [size])[0]
    zeros = tf.zeros([1, size[0] + 10, size[1] + 10, 3])

    def padded(noise_map):
        return tf.pad(noise_map, [[0, 0], [5, 5], [5, 5], [0, 0]]) + zeros

    def adam(variables, gradients, moments, count):
        for variable, gradient, (m, v) in zip(variables, gradients, moments):
            m += 0.5 * (gradient.numpy() - m)
            v += 0.001 * (gradient.numpy() ** 2 - v)
            # The efficient form at the end of section 2 of Kingma and Ba (2015).
            rate = 5e-4 * np.sqrt(1 - 0.999**count) / (1 - 0.5**count)
            variable.assign_sub(rate * m / (np.sqrt(v) + 1e-8))

    def zero_moments(variables):
        return [[np.zeros(v.shape, np.float32) for _ in "mv"] for v in variables]

    moments = zero_moments(critic.trainable_variables)
    for update in range(2):
        seeds = training.noise.derive_seeds(0, update, 1)
        noise_map = padded(stage.noise(seeds, 0, *size))
        fake = stage.generator((noise_map, zeros))
        mixing = training.noise.uniform(seeds, training.noise.MIXING_STREAM, 1)[0, 0]
        with tf.GradientTape() as tape:
            with tf.GradientTape() as inner:
                mixed = mixing * real + (1 - mixing) * fake
                inner.watch(mixed)
                total = tf.reduce_sum(critic(mixed))
            gradient = inner.gradient(total, mixed)
            penalty = tf.reduce_mean((tf.norm(gradient, axis=-1) - 1) ** 2)
            loss = tf.reduce_mean(critic(fake)) - tf.reduce_mean(critic(real))
            loss += 0.3 * penalty
        gradients = tape.gradient(loss, critic.trainable_variables)
        adam(critic.trainable_variables, gradients, moments, update + 1)
    moments = zero_moments(stage.generator.trainable_variables)
    star = padded(trained.reconstruction_noise)
    for update in range(2):
        with tf.GradientTape() as tape:
            fake = stage.generator((noise_map, zeros))
            error = stage.generator((star, zeros)) - real
            loss = 10 * tf.reduce_mean(error**2) - tf.reduce_mean(critic(fake))
        gradients = tape.gradient(loss, stage.generator.trainable_variables)
        adam(stage.generator.trainable_variables, gradients, moments, update + 1)
    for found, expected in zip(weights(trained), stage.generator.get_weights()):
        np.testing.assert_allclose(found, expected, atol=2e-6)
    with open(tmp_path / "scales/00/losses.csv") as file:
        row = {
            name: float(value) for name, value in list(csv.DictReader(file))[0].items()
        }
    assert row["gradient_penalty"] == pytest.approx(float(penalty), rel=1e-3)
    assert row["reconstruction"] == pytest.approx(
        float(tf.reduce_mean(error**2)), rel=1e-4
    )


@pytest.mark.parametrize(
    "settings",
    [
        {
            "crop_size": 16,
            "previous_pool": 3,
            "channels": 1,
            "padding": "reflect",
            "global_batch_size": 2,
            "mixed_precision": "bfloat16",
        },
        *(
            pytest.param(settings, marks=pytest.mark.slow)
            for settings in (
                {
                    "padding": "noise",
                    "moving_average": 0.5,
                    "learning_rate_schedule": "cosine",
                    "mixed_precision": "float16",
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
                    "adversary": "0:sliced_wasserstein,1-:frechet",
                    "patch_count": 50,
                    "crop_size": 16,
                    "previous_pool": 2,
                    "global_batch_size": 2,
                },
                {
                    "patch_scales": 1,
                    "crop_size": 16,
                    "previous_pool": 2,
                    "padding": "circular",
                    "moving_average": 0.5,
                },
            )
        ),
    ],
    ids=str,
)
def test_every_variant_trains_resumes_exactly_and_loads(photograph, tmp_path, settings):
    photograph = photograph[..., : settings.get("channels", 3)]
    trained = train(photograph, tmp_path / "whole", **settings)
    stops = iter([False, True])
    with pytest.raises(training.Interrupted):
        train(photograph, tmp_path / "cut", lambda: next(stops), **settings)
    train(photograph, tmp_path / "cut", **settings)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    for scale in (0, 1):
        assert measured(tmp_path / "whole", scale) == measured(tmp_path / "cut", scale)
    loaded, _ = checkpoint.load(tmp_path / "cut")
    sample = trained.sample([7])
    assert np.isfinite(sample).all()
    np.testing.assert_array_equal(loaded.sample([7]), sample)
    np.testing.assert_array_equal(loaded.reconstruct(), trained.reconstruct())


@pytest.mark.slow
@pytest.mark.parametrize(
    "adversary",
    [
        {},
        {
            "adversary": "0:sliced_wasserstein,1-:frechet",
            "crop_size": 16,
            "patch_count": 60,
        },
    ],
    ids=str,
)
def test_two_devices_compute_what_one_does_with_the_same_batch(tmp_path, adversary):
    """MirroredStrategy needs logical devices, which a fresh process can make."""
    code = textwrap.dedent(
        """
        import json, pathlib, sys
        import numpy as np, tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        sys.path.insert(0, "tests")
        from test_training import train, weights
        from singan_tf import images
        photograph = images.read(images.resolve("coffee"))[:, 100:124, 200:230]
        folder = pathlib.Path(sys.argv[1])
        settings = dict(global_batch_size=4, steps=5, generator_normalization="none",
                        critic_normalization="none", **json.loads(sys.argv[2]))
        one = train(photograph, folder / "1", strategy="one_device", **settings)
        two = train(photograph, folder / "2", strategy="mirrored", **settings)
        for scale in range(2):
            for a, b in zip(weights(one, scale), weights(two, scale)):
                np.testing.assert_allclose(a, b, atol=1e-4)
        """
    )
    process = subprocess.run(
        [sys.executable, "-c", code, tmp_path, json.dumps(adversary)],
        cwd=pathlib.Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr[-3000:]


@pytest.mark.slow
def test_float16_learns_what_is_too_small_for_it(photograph, tmp_path):
    """Without a scaled loss these gradients, below 6e-8, would be zero."""
    settings = {"num_scales": 1, "min_size": 20, "adversary": "frechet"}
    settings.update(patch_weight=0.0, reconstruction_weight=1e-5, steps=30)
    settings.update(learning_rate_schedule="constant", reconstruction_noise="fixed")
    for precision in ("none", "float16"):
        folder = tmp_path / precision
        train(photograph, folder, mixed_precision=precision, **settings)
    found, expected = (
        np.loadtxt(tmp_path / name / "scales/00/losses.csv", delimiter=",", skiprows=1)
        for name in ("float16", "none")
    )
    assert expected[-1, 5] < 0.8 * expected[0, 5]
    np.testing.assert_allclose(found[:, 5], expected[:, 5], rtol=0.1)


@pytest.mark.slow
def test_xla_computes_the_same_losses_but_for_its_other_noise(photograph, tmp_path):
    scale = {"num_scales": 1, "min_size": 20, "steps": 1, "width": 2}
    for run, xla in (("plain", False), ("xla", True)):
        train(photograph, tmp_path / run, xla=xla, **scale)
    found, expected = (
        np.loadtxt(tmp_path / run / "scales/00/losses.csv", delimiter=",", skiprows=1)
        for run in ("xla", "plain")
    )
    # The critic's score of the photograph has no noise in it.
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-4)
    np.testing.assert_allclose(found, expected, rtol=0.1, atol=5e-3)


THREE_SCALES = {"max_size": 30, "num_scales": 3, "min_size": 17}


def critic_weights(run_dir, scale):
    return {
        name: value
        for (found, name), value in stored(run_dir).items()
        if found == scale and name.startswith("critic/")
    }


@pytest.mark.slow
def test_a_critic_starts_from_the_nearest_critic_below(photograph, tmp_path):
    still = {"generator_learning_rate": 0.0, "critic_learning_rate": 0.0}
    still.update(THREE_SCALES, steps=1, critic_normalization="none")
    train(photograph, tmp_path, adversary="0:critic,1:frechet,2-:critic", **still)
    below, above = (critic_weights(tmp_path, scale) for scale in (0, 2))
    assert len(below) == 10 and not critic_weights(tmp_path, 1)
    for name, value in below.items():
        np.testing.assert_array_equal(value, above[name], err_msg=name)


@pytest.mark.slow
def test_distances_train_towards_the_photographs_patches(photograph, tmp_path):
    """Without the reconstruction term, the distance of samples must fall."""
    settings = {"num_scales": 1, "min_size": 20, "steps": 60, "width": 8}
    settings.update(reconstruction_weight=0.0, learning_rate_schedule="constant")
    for name in ("frechet", "nearest_neighbor", "sliced_wasserstein"):
        train(photograph, tmp_path / name, adversary=name, **settings)
        table = tmp_path / name / "scales/00/losses.csv"
        values = np.loadtxt(table, delimiter=",", skiprows=1)[:, 4]
        assert values[-10:].mean() < 0.5 * values[:10].mean(), name


def test_a_step_against_a_distance_is_one_update_of_the_generator(photograph, tmp_path):
    """So the number of updates against a critic has no effect on it."""
    one_scale = {"num_scales": 1, "min_size": 20, "adversary": "sliced_wasserstein"}
    train(photograph, tmp_path / "one", **one_scale)
    updates = {"critic_updates": 2, "generator_updates": 3}
    train(photograph, tmp_path / "more", **one_scale, **updates)
    assert_same_run(tmp_path / "one", tmp_path / "more")


def test_too_little_memory_is_one_sentence(photograph, tmp_path, monkeypatch):
    def exhausted(*arguments, **options):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    monkeypatch.setattr(tf.random, "stateless_normal", exhausted)
    with pytest.raises(UserError, match="not enough memory; train on crops"):
        train(photograph, tmp_path)


def test_divergence_is_one_sentence(photograph, tmp_path):
    with pytest.raises(UserError, match="diverged at scale 0.*learning_rate"):
        train(photograph, tmp_path, critic_learning_rate=1e30, steps=8)


def test_plain_lines_tell_scale_step_losses_and_time_left(
    photograph, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    with caplog.at_level(logging.INFO, "singan_tf"):
        train(photograph, tmp_path)
    lines = [record.message for record in caplog.records]
    assert any("scale 1 step 4/4" in line and "left" in line for line in lines)
    assert any("gradient_penalty" in line for line in lines)


def test_tensorboard_has_the_losses_and_images_of_each_scale(photograph, tmp_path):
    train(photograph, tmp_path)
    found = set()
    for file in tmp_path.glob("events/*"):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            found |= {value.tag for value in event.summary.value}
    for scale in ("scale_00", "scale_01"):
        assert {f"{scale}/{name}" for name in checkpoint.LOSS_COLUMNS} <= found
        assert {f"{scale}/{name}" for name in ("real", "fake")} <= found
        assert f"{scale}/patch_frechet" in found


def measured(run_dir, scale=0):
    return (run_dir / f"scales/{scale:02d}/metrics.csv").read_text().split()


@pytest.mark.slow
def test_measuring_samples_leaves_training_as_it_is(photograph, tmp_path):
    train(photograph, tmp_path / "often", metric_steps=1)
    singan = train(photograph, tmp_path / "end", metric_steps=0)
    assert_same_run(tmp_path / "often", tmp_path / "end")
    reals = pyramid.image_pyramid(photograph, singan.sizes)
    for scale, real in enumerate(reals):
        head, *often = measured(tmp_path / "often", scale)
        assert head == "step,patch_frechet"
        assert [row.split(",")[0] for row in often] == list("1234")
        assert measured(tmp_path / "end", scale) == [head, often[3]]
        sample = singan.coarsest(scale + 1).sample([0]).numpy()
        expected = metrics.patch_frechet(sample, real.numpy())
        assert float(often[3].split(",")[1]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("table", "kept"),
    [
        # Of a process that was killed between a measurement and its checkpoint.
        ("step,sifid\n2,0.5\n4,0.25\n6,9\n", ["2,0.5", "4,0.25"]),
        ("step,patch_frechet\n2,0.5\n", []),
        ("step,sifid\n2,", []),
        ("", []),
        (None, []),
    ],
)
def test_measurements_go_on_where_the_checkpoint_stands(
    photograph, tmp_path, table, kept
):
    def network(image):
        # As Inception, it has nothing to say about what is too small for it.
        return image[0].reshape(-1, 3) if image.shape[1] > 10 else None

    if table is not None:
        (tmp_path / "scales/00").mkdir(parents=True)
        (tmp_path / "scales/00/metrics.csv").write_text(table)
    settings = config.from_settings({"steps": 9, "metric_steps": 2})
    watch = monitor.Monitor(settings, [photograph.shape[1:3]], tmp_path, network)
    real, sample = tf.constant(photograph), tf.constant(photograph[:, ::-1] / 2)
    drawn = []

    def draw():
        drawn.append(sample)
        return sample

    watch.start_scale(0, 4)
    for step in range(4, 9):
        watch.measure(0, step, real, draw)
    assert len(drawn) == 2
    watch.measure(0, 5, real, lambda: sample * np.nan)
    watch.measure(0, 5, real, lambda: sample[:, :10])
    watch.finish_scale(0, real, sample, sample)
    watch.close()
    value = f"{metrics.sifid(network, sample.numpy(), photograph):.9g}"
    new = [f"{step},{value}" for step in (6, 8, 9)]
    assert measured(tmp_path) == ["step,sifid", *kept, *new]


@pytest.mark.slow
def test_the_first_trained_scale_starts_anew_from_the_photograph(photograph, tmp_path):
    """Patches below give it neither weights nor an error to make good."""
    rates = {"generator_learning_rate": 0.0, "critic_learning_rate": 0.0, "steps": 1}
    rates["generator_normalization"] = "none"
    above = train(photograph, tmp_path, patch_scales=1, **rates)
    reals = pyramid.image_pyramid(photograph, above.sizes)
    np.testing.assert_array_equal(above.reconstructions(1)[0], reals[0])
    settings = config.from_settings({**TINY, **rates})
    fresh = training._make_players(settings, 1).stage.generator.get_weights()
    for ours, expected in zip(weights(above, 1), fresh):
        np.testing.assert_array_equal(ours, expected)
    error = bring_up(reals[0], above.sizes[1]) - reals[1]
    np.testing.assert_allclose(
        above.stages[1].noise_amplitude, 0.1 * np.sqrt(np.mean(error**2)), rtol=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize("asked", [0.3, 0.6])
def test_layouts_of_patches_differ_as_much_as_is_asked_for(asked, tmp_path):
    noisy = np.random.default_rng(0).uniform(-1, 1, (1, 12, 14, 3))
    image = np.clip(resize(tf.constant(noisy, tf.float32), 48, 56).numpy(), -1, 1)
    made = train(
        image, tmp_path, patch_scales=2, layout_shift=0.0, layout_diversity=asked
    )
    grey = made.coarsest(1).sample(range(1000, 1040)).numpy().mean(axis=-1)
    photograph = made.reconstructions(1)[0].numpy().mean(axis=-1)
    found = grey.std(axis=0).mean() / photograph.std()
    # Some layouts were looked at, and these are others.
    assert abs(found - asked) < 0.15
    loaded, _ = checkpoint.load(tmp_path)
    amplitude = loaded.stages[0].noise_amplitude.numpy()
    assert amplitude == made.stages[0].noise_amplitude.numpy() > 0


@pytest.mark.slow
def test_layouts_move_as_far_as_either_setting_asks(photograph, tmp_path):
    def shift(least, diversity):
        folder = tmp_path / f"{least}_{diversity}"
        settings = {"layout_shift": least, "layout_diversity": diversity}
        made = train(photograph, folder, patch_scales=1, **settings)
        return made.stages[0].noise_amplitude.numpy()

    found = shift(0.0, 0.3)
    assert 0.01 < found < 0.4
    assert shift(0.01, 0.3) == found
    for diversity in (0.0, 0.3):
        assert shift(0.4, diversity) == np.float32(0.4)


def test_layouts_of_one_colour_need_no_noise(tmp_path):
    image = np.full([1, 40, 40, 3], 0.25, np.float32)
    made = train(image, tmp_path, patch_scales=2)
    np.testing.assert_allclose(made.sample([3]), 0.25, atol=1e-5)


def test_a_run_of_patches_alone_stops_and_goes_on(photograph, tmp_path):
    stop = {"patch_scales": 2, "patch_iterations": 1}
    with pytest.raises(training.Interrupted):
        train(photograph, tmp_path / "cut", lambda: True, **stop)
    assert checkpoint.read_state(tmp_path / "cut", 0).finished
    assert checkpoint.read_state(tmp_path / "cut", 1) is None
    trained = train(photograph, tmp_path / "cut", **stop)
    train(photograph, tmp_path / "whole", **stop)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    assert checkpoint.is_finished(tmp_path / "cut", 2)
    assert measured(tmp_path / "cut", 1)[1].startswith("0,")
    loaded, _ = checkpoint.load(tmp_path / "cut")
    np.testing.assert_array_equal(loaded.sample([7]), trained.sample([7]))


def retrain(run_dir, folder, palette=None, entering=None):
    """Trains again, at scale 1 or from there on; the pyramid before and after."""
    singan, settings = checkpoint.load(run_dir)
    strategy = distribution.make_strategy("one_device")
    watch = monitor.Monitor(settings, singan.sizes, folder)
    run = training.Run(settings, strategy, folder, watch, lambda: False)
    try:
        if entering is None:
            return singan, training.retrain_scale(run, singan, run_dir, 1, palette)
        return singan, training.retrain_on_images(run, singan, run_dir, 1, entering)
    finally:
        watch.close()


KINDS = [
    {},
    {"crop_size": 16, "previous_pool": 2},
    {"adversary": "0:frechet,1-:critic"},
]


@pytest.mark.slow
@pytest.mark.parametrize("crops", KINDS, ids=str)
def test_a_scale_is_trained_again_beside_the_run(photograph, tmp_path, crops):
    run_dir, folder = tmp_path / "run", tmp_path / "again"
    train(photograph, run_dir, **crops)
    before = stored(run_dir)
    palette = np.array([[-1, -1, -1], [0, 0.5, 0], [1, 1, 1]], np.float32)
    singan, retrained = retrain(run_dir, folder, palette)
    assert retrained.stages[0] is singan.stages[0]
    assert retrained.stages[1] is not singan.stages[1]
    np.testing.assert_array_equal(retrained.stages[1].palette, palette)
    after = stored(run_dir)
    assert after.keys() == before.keys()
    for key, value in after.items():
        np.testing.assert_array_equal(value, before[key])
    assert [path.name for path in (folder / "scales").iterdir()] == ["01"]
    assert checkpoint.read_state(folder, 1).finished


@pytest.mark.slow
def test_a_scale_trained_again_with_every_colour_is_the_same(photograph, tmp_path):
    """The palette is all that differs, up to the 8 bits of the run's pictures."""
    eight_bits = images.to_uint8(photograph) / 127.5 - 1
    settings = {
        # Large enough for the photograph to stay as it is.
        "max_size": 30,
        # A bias before it has no gradient but rounding, which Adam blows up.
        "generator_normalization": "none",
        "critic_normalization": "none",
    }
    train(eight_bits.astype(np.float32), tmp_path / "run", **settings)
    singan, retrained = retrain(tmp_path / "run", tmp_path / "again")
    for ours, theirs in zip(retrained.stages[1].variables, singan.stages[1].variables):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_scales_are_trained_again_on_images_beside_the_run(photograph, tmp_path, kind):
    run_dir, folder = tmp_path / "run", tmp_path / "again"
    train(photograph, run_dir, **kind)
    before = stored(run_dir)
    entering = np.random.default_rng(3).uniform(-1, 1, [2, 30, 40, 3])
    entering = entering.astype(np.float32)
    singan, retrained = retrain(run_dir, folder, entering=entering)
    count = len(singan.sizes)
    assert len(retrained.stages) == count > 1
    after = stored(run_dir)
    assert after.keys() == before.keys()
    for key, value in after.items():
        np.testing.assert_array_equal(value, before[key])
    trained = sorted(path.name for path in (folder / "scales").iterdir())
    assert trained == [f"{scale:02d}" for scale in range(1, count)]
    # Only where images enter are they not part of the output.
    first, second = np.random.default_rng(4).normal(size=[2, 1, 20, 20, 3])
    first, second = first.astype(np.float32), second.astype(np.float32)
    inner = (second - first)[:, 5:-5, 5:-5]
    for scale in range(1, count):
        generator = retrained.stages[scale].generator
        added = generator((first, second)) - generator((first, first))
        np.testing.assert_allclose(added, 0 if scale == 1 else inner, atol=1e-5)
    # Given again, it is all there.
    again = retrain(run_dir, folder, entering=entering)[1]
    np.testing.assert_array_equal(again.reconstruct(), retrained.reconstruct())
