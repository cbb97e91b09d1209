import numpy as np
import pytest
import tensorflow as tf

from singan_tf import config
from singan_tf.model import pyramid, stages
from singan_tf.model.resize import resize
from singan_tf.model.singan import SinGAN, bring_up

SIZES = [(8, 10), (11, 14), (16, 20)]
SEEDS = [5, -3, 2**40, 0]
ATOL = 1e-5
NOISE_SCALES = [1.0, 0.0, 0.5, 2.0]


@pytest.fixture(scope="module")
def build(make_stage):
    def make(stages=3, **settings):
        model = SinGAN(SIZES, 3)
        for scale in range(stages):
            amplitude = 1.0 if scale == 0 else 0.3
            model.stages.append(make_stage(scale, amplitude, **settings))
        model.set_reconstruction_noise(11)
        return model

    return make


@pytest.fixture(scope="module")
def model(build):
    return build()


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(3)
    return tf.constant(rng.uniform(-1, 1, (4, 19, 23, 3)), tf.float32)


@pytest.fixture(scope="module")
def patched(make_stage):
    """Two scales of patches below one of convolutions, and the photograph."""
    rng = np.random.default_rng(1)
    photograph = resize(
        tf.constant(rng.uniform(-1, 1, (1, 6, 7, 3)), tf.float32), 16, 20
    )
    reals = pyramid.image_pyramid(photograph, SIZES)
    settings = config.from_settings(
        {"patch_scales": 2, "patch_iterations": 2, "layout_shift": 0.2}
    )
    model = SinGAN(SIZES, 3)
    for scale, real in enumerate(reals[:2]):
        model.stages.append(stages.build_stage(settings, scale, SIZES[scale]))
        previous = reals[0] if scale == 0 else brought_up(reals[0], SIZES[1])
        model.stages[scale].remember(real, previous)
    model.stages.append(make_stage(2))
    model.set_reconstruction_noise(None)
    return model, reals


def sizes_for(height, width, count=3):
    """Every scale in proportion to the last, rounded."""
    full_height, full_width = SIZES[count - 1]
    return [
        (int(h * height / full_height + 0.5), int(w * width / full_width + 0.5))
        for h, w in SIZES[:count]
    ]


def clip(x):
    return tf.clip_by_value(x, -1, 1)


def brought_up(x, size):
    return clip(resize(x, *size))


def walk(model, seeds, previous, start, sizes, noise_scale=1.0):
    """SinGAN, section 2, as a plain loop from a given previous image on."""
    image = None
    for scale in range(start, len(model.stages)):
        if image is not None:
            previous = brought_up(image, sizes[scale])
        stage = model.stages[scale]
        noise_map = stage.noise(tf.constant(seeds, tf.int64), scale, *sizes[scale])
        image = clip(stage(noise_scale * noise_map, previous))
    return image


def reconstructed(model, count):
    """The photograph from z* at scale count - 1, as a plain loop."""
    image = clip(model.stages[0](model.reconstruction_noise, tf.zeros([1, 8, 10, 3])))
    for scale in range(1, count):
        image = clip(model.stages[scale](None, brought_up(image, SIZES[scale])))
    return image


def assert_close(actual, expected, atol=ATOL):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


def assert_lively(images):
    """Guards the comparisons of this file against images without content."""
    assert np.abs(images).max() <= 1
    assert np.std(images) > 0.1
    assert np.mean(np.abs(images) == 1) < 0.5


@pytest.mark.parametrize("padding", ["zeros", "reflect", "circular", "noise"])
@pytest.mark.parametrize("size", [None, (16, 30), (25, 13)])
def test_sample_is_the_walk_from_scale_0(build, padding, size):
    model = build(padding=padding)
    height, width = size or SIZES[-1]
    samples = model.sample(SEEDS, height=size and height, width=size and width)
    sizes = sizes_for(height, width)
    expected = walk(model, SEEDS, tf.zeros([4, *sizes[0], 3]), 0, sizes)
    assert samples.shape == (4, height, width, 3) and samples.dtype == tf.float32
    assert_close(samples, expected)
    assert_lively(samples)


@pytest.mark.parametrize("start", [1, 2])
@pytest.mark.parametrize("size", [(16, 20), (21, 17)])
def test_sample_enters_a_later_scale_with_the_reconstruction(model, start, size):
    sizes = sizes_for(*size)
    previous = brought_up(reconstructed(model, start), sizes[start])
    expected = walk(model, SEEDS, tf.repeat(previous, 4, 0), start, sizes)
    assert_close(model.sample(SEEDS, start, *size), expected)


@pytest.mark.parametrize("start", [1, 2])
@pytest.mark.parametrize("size", [(19, 23), (16, 20), (9, 30)])
def test_inject_shrinks_brings_up_and_walks_on(model, image, start, size):
    image = brought_up(image, size)
    sizes = sizes_for(*size)
    previous = brought_up(brought_up(image, sizes[start - 1]), sizes[start])
    expected = walk(model, SEEDS, previous, start, sizes)
    redrawn = model.inject(image, start, SEEDS)
    assert redrawn.shape == (4, *size, 3)
    assert_close(redrawn, expected)
    assert_lively(redrawn)


def test_inject_puts_one_image_into_every_row(model, image):
    one, repeated = image[:1], tf.repeat(image[:1], 4, 0)
    assert_close(model.inject(one, 1, SEEDS), model.inject(repeated, 1, SEEDS))


@pytest.mark.parametrize(
    "call",
    [
        lambda model, image, i: model.sample(tf.gather(SEEDS, i)),
        lambda model, image, i: model.sample(tf.gather(SEEDS, i), 2),
        lambda model, image, i: model.sample(
            tf.gather(SEEDS, i), 1, 13, 31, tf.gather(NOISE_SCALES, i)
        ),
        lambda model, image, i: model.inject(
            tf.gather(image, i),
            1,
            tf.gather(SEEDS, i),
            tf.gather(NOISE_SCALES, i),
        ),
    ],
    ids=["sample", "sample_start_scale", "sample_noise_scales", "inject"],
)
@pytest.mark.parametrize("normalization", ["batch", "instance"])
def test_rows_are_independent(build, image, call, normalization):
    model = build(generator_normalization=normalization)
    together = call(model, image, [0, 1, 2, 3])
    singles = tf.concat([call(model, image, [i]) for i in range(4)], 0)
    permuted = call(model, image, [2, 0, 3, 1])
    assert_close(together, singles)
    assert_close(tf.gather(together, [2, 0, 3, 1]), permuted)
    assert np.std(together, axis=0).mean() > 0.05


@pytest.mark.parametrize("start", [0, 1, 2])
def test_sample_takes_start_scales_as_numbers_or_tensors(model, start):
    expected = model.sample(SEEDS, start)
    assert_close(model.sample(SEEDS, tf.constant(start)), expected)


@pytest.mark.parametrize("scale", [1, 2])
def test_inject_takes_scales_as_numbers_or_tensors(model, image, scale):
    expected = model.inject(image, scale, SEEDS)
    assert_close(model.inject(image, tf.constant(scale), SEEDS), expected)


@pytest.mark.parametrize("start", [-1, 3])
def test_a_scale_that_is_not_there_is_refused(model, image, start):
    with pytest.raises(ValueError, match=f"scale {start} is not from 0 to 2"):
        model.sample(SEEDS, start)
    with pytest.raises(ValueError, match="scale 0 is not from 1 to 2"):
        model.inject(image, 0, SEEDS)


def test_samples_drawn_scale_by_scale_are_those_of_each_pyramid(model):
    below = None
    for scale in range(3):
        below = model.draw(scale, below, SEEDS)
        assert_close(below, model.coarsest(scale + 1).sample(SEEDS))


@pytest.mark.slow
@pytest.mark.parametrize("start", [0, 1, 2])
@pytest.mark.parametrize("size", [(16, 20), (27, 12)])
def test_the_sampler_gives_one_sample(model, start, size):
    drawn = model.sampler()([7], start, *size, 0.5)
    assert drawn.shape == (1, *size, 3)
    assert_close(drawn, model.sample([7], start, *size, 0.5))


def test_the_sampler_gives_the_reconstruction_when_no_scale_is_drawn(model):
    drawn = model.sampler()([7], 3, 16, 20, 1.0)
    assert_close(drawn, model.reconstruct())


@pytest.mark.parametrize("start", [0, 1, 2])
def test_one_noise_scale_for_all_is_that_noise_scale_for_each(model, start):
    expected = model.sample(SEEDS, start, noise_scale=0.5)
    assert_close(model.sample(SEEDS, start, noise_scale=tf.fill([4], 0.5)), expected)
    assert np.abs(expected - model.sample(SEEDS, start)).max() > 0.05


@pytest.mark.parametrize("padding", ["zeros", "noise"])
@pytest.mark.parametrize("start", [1, 2])
def test_without_noise_later_starts_give_the_reconstruction(build, padding, start):
    model = build(padding=padding)
    samples = model.sample(SEEDS, start, noise_scale=0.0)
    assert_close(samples, tf.repeat(model.reconstruct(), 4, 0))


def test_without_noise_scale_0_gives_every_seed_the_same_image(model):
    samples = model.sample(SEEDS, noise_scale=0.0)
    assert_close(samples, tf.repeat(samples[:1], 4, 0))


def test_later_starts_stay_nearer_to_the_reconstruction(model):
    distances = [
        np.mean(np.abs(model.sample(SEEDS, start) - model.reconstruct()))
        for start in (0, 2)
    ]
    assert distances[1] < distances[0]


def test_reconstruct_walks_from_z_star_without_further_noise(model):
    assert_close(model.reconstruct(), reconstructed(model, 3))
    assert_lively(model.reconstruct())
    each = model.reconstructions(3)
    assert [x.shape for x in each] == [(1, h, w, 3) for h, w in SIZES]
    for count, image in enumerate(each, start=1):
        assert_close(image, reconstructed(model, count))
    assert len(model.reconstructions(2)) == 2


def test_reconstruction_depends_on_z_star_alone(build):
    model = build()
    before = model.reconstruct()
    model.set_reconstruction_noise(12)
    assert np.abs(model.reconstruct() - before).max() > 0.05
    model.set_reconstruction_noise(11)
    np.testing.assert_array_equal(model.reconstruct(), before)


def test_z_star_is_no_samples_noise(model):
    drawn = model.draw_reconstruction_noise(5)
    assert drawn.shape == (1, 8, 10, 1)
    sample = model.stages[0].noise(tf.constant([5], tf.int64), 0, 8, 10)
    assert abs(np.corrcoef(np.ravel(drawn), np.ravel(sample))[0, 1]) < 0.5


@pytest.mark.parametrize("count", [1, 2])
def test_an_unfinished_pyramid_ends_at_its_last_stage(build, count):
    model = build(count)
    sizes = SIZES[:count]
    assert model.reconstruct().shape == (1, *sizes[-1], 3)
    expected = walk(model, SEEDS, tf.zeros([4, 8, 10, 3]), 0, sizes)
    assert_close(model.sample(SEEDS), expected)
    larger = sizes_for(20, 20, count)
    expected = walk(model, SEEDS, tf.zeros([4, *larger[0], 3]), 0, larger)
    assert_close(model.sample(SEEDS, height=20, width=20), expected)


def test_grey_models_give_grey_images(make_stage):
    model = SinGAN(SIZES, 1)
    model.stages = [make_stage(scale, 0.5, channels=1) for scale in range(3)]
    model.set_reconstruction_noise(0)
    assert model.sample(SEEDS).shape == (4, 16, 20, 1)
    assert model.reconstruct().shape == (1, 16, 20, 1)


def test_samples_are_the_same_in_a_graph_of_unknown_sizes(model):
    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([None], tf.float32),
        ]
    )
    def graph(seeds, start, height, width, noise_scale):
        return model.sample(seeds, start, height, width, noise_scale)

    for count, height, width in [(4, 16, 20), (1, 27, 12)]:
        seeds, scales = SEEDS[:count], NOISE_SCALES[:count]
        for start in (0, 2):
            drawn = graph(seeds, start, height, width, scales)
            expected = model.sample(seeds, start, height, width, tf.constant(scales))
            assert drawn.shape == expected.shape
            assert_close(drawn, expected)


def test_injections_are_the_same_in_a_graph_of_unknown_sizes(model, image):
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None, 3], tf.float32),
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([None], tf.int64),
        ]
    )
    def graph(image, scale, seeds):
        return model.inject(image, scale, seeds)

    for rows, size in [(4, (19, 23)), (1, (30, 14))]:
        given = brought_up(image[:rows], size)
        for scale in (1, 2):
            expected = model.inject(given, scale, SEEDS[:rows])
            assert_close(graph(given, scale, SEEDS[:rows]), expected)


def test_patches_restore_the_photograph(patched):
    model, reals = patched
    restored = model.reconstructions(3)
    for image, real in zip(restored[:2], reals):
        np.testing.assert_array_equal(image, real)
    assert_close(
        restored[2], clip(model.stages[2](None, brought_up(reals[1], SIZES[2])))
    )
    np.testing.assert_array_equal(model.reconstruct(), restored[2])
    assert not np.any(model.reconstruction_noise)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(16, 20), (25, 13)])
@pytest.mark.parametrize("start", [0, 1, 2])
def test_patches_are_sampled_like_other_stages(patched, start, size):
    model, reals = patched
    sizes = sizes_for(*size)
    previous = tf.zeros([1, *sizes[0], 3])
    if start:
        previous = brought_up(reals[start - 1], sizes[start])
    expected = walk(model, SEEDS, tf.repeat(previous, 4, 0), start, sizes)
    samples = model.sample(SEEDS, start, *size)
    assert_close(samples, expected)
    assert_close(model.sampler()(SEEDS[:1], start, *size, 1.0), expected[:1])
    assert np.std(samples, axis=0).mean() > 0.01


@pytest.mark.parametrize("start", [1, 2])
def test_an_image_enters_among_patches(patched, image, start):
    model, _ = patched
    sizes = sizes_for(*image.shape[1:3])
    previous = brought_up(brought_up(image, sizes[start - 1]), sizes[start])
    expected = walk(model, SEEDS, previous, start, sizes)
    assert_close(model.inject(image, start, SEEDS), expected)


def test_without_noise_patches_stay_in_the_photograph_s_places(patched):
    model, reals = patched
    part = model.coarsest(2)
    assert_close(part.sample(SEEDS[:1], noise_scale=0.0), reals[1], 1e-4)
    spreads = [
        np.std(part.sample(SEEDS, noise_scale=scale), axis=0).mean()
        for scale in (0.1, 1.0)
    ]
    assert spreads[0] < spreads[1]


def test_bring_up_resizes_and_clips():
    edges = tf.constant(np.indices((1, 6, 6, 1)).sum(0) // 3 % 2 * 2.0 - 1, tf.float32)
    assert np.abs(resize(edges, 13, 9)).max() > 1
    assert_close(bring_up(edges, (13, 9)), np.clip(resize(edges, 13, 9), -1, 1))


def test_a_checkpoint_gives_back_the_same_model(build, tmp_path):
    model, restored = build(), build()
    for i, variable in enumerate(restored.variables):
        variable.assign(tf.fill(variable.shape, 0.1 + 0.01 * i))
    assert np.abs(restored.sample(SEEDS) - model.sample(SEEDS)).max() > 0.05
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "model"))
    tf.train.Checkpoint(model=restored).read(path).assert_consumed()
    np.testing.assert_array_equal(restored.sample(SEEDS), model.sample(SEEDS))
    np.testing.assert_array_equal(restored.reconstruct(), model.reconstruct())
