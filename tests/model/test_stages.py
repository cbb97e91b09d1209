import itertools

import numpy as np
import pytest
import tensorflow as tf

from singan_tf import config
from singan_tf.model import displacement, noise, patch_matching, stages
from singan_tf.model.resize import resize
from singan_tf.model.singan import SinGAN
from singan_tf.model.stages import crop, nearest_colours

PADDINGS = ["zeros", "reflect", "circular", "noise"]
NUMPY_MODES = {
    "zeros": "constant",
    "noise": "constant",
    "reflect": "reflect",
    "circular": "wrap",
}
HEIGHT, WIDTH = 14, 17
SEEDS = tf.constant([4, 9, 9], tf.int64)
PREVIOUS = tf.constant(
    np.random.default_rng(0).uniform(-1, 1, (3, HEIGHT, WIDTH, 3)), tf.float32
)
# (height, width) of a crop and a corner in the image for each row.
CROPS = [
    pytest.param((HEIGHT, WIDTH), [[0, 0]] * 3, id="full"),
    pytest.param((8, 9), [[0, 8], [6, 0], [3, 4]], id="borders"),
    pytest.param((6, WIDTH), [[0, 0], [8, 0], [5, 0]], id="bands"),
]


def numpy_pad(array, mode):
    return np.pad(array, [(0, 0), (5, 5), (5, 5), (0, 0)], mode)


def numpy_crop(array, corners, size):
    array = np.asarray(array)
    return np.stack(
        [
            image[top : top + size[0], left : left + size[1]]
            for image, (top, left) in zip(array, corners)
        ]
    )


def crop_noise(stage, corners, size, in_graph=False):
    """The noise of padded crops, as `padded_crop_inputs` adds it to zeros."""
    stage.noise_amplitude.assign(1.0)
    padded = tf.zeros([3, HEIGHT + 10, WIDTH + 10, 3])
    call = stage.padded_crop_inputs
    call = tf.function(call) if in_graph else call
    noisy, previous = call(SEEDS, 2, padded, tf.constant(corners), size)
    np.testing.assert_array_equal(previous, 0)
    return noisy.numpy()


def outside(corner, size):
    """Which pixels of a padded crop lie outside the image."""
    rows = np.arange(size[0] + 10) + corner[0] - 5
    columns = np.arange(size[1] + 10) + corner[1] - 5
    rows, columns = (rows < 0) | (rows >= HEIGHT), (columns < 0) | (columns >= WIDTH)
    return rows[:, None] | columns[None]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("size, corners", CROPS)
def test_without_noise_crop_inputs_are_crops_of_the_padded_previous(
    make_stage, padding, size, corners
):
    stage = make_stage(padding=padding, amplitude=0.0)
    padded = numpy_pad(PREVIOUS, NUMPY_MODES[padding])
    window = (size[0] + 10, size[1] + 10)
    expected = numpy_crop(padded, corners, window)
    for actual in stage.padded_crop_inputs(
        SEEDS, 2, tf.constant(padded), tf.constant(corners), size
    ):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("scale, mode", [(1, "zeros"), (2, "reflect")])
def test_a_scale_has_the_padding_that_it_was_given(make_stage, scale, mode):
    stage = make_stage(scale, padding="0-1:zeros,2-:reflect")
    expected = numpy_pad(PREVIOUS, NUMPY_MODES[mode])
    np.testing.assert_array_equal(stage.pad(PREVIOUS), expected)


@pytest.mark.parametrize("normalization", ["batch", "none"])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("size, corners", CROPS)
def test_the_generator_computes_on_a_crop_what_it_does_on_the_whole(
    make_stage, padding, size, corners, normalization
):
    stage = make_stage(padding=padding, generator_normalization=normalization)
    noise_map = stage.noise(SEEDS, 2, HEIGHT, WIDTH)
    whole = stage(noise_map, PREVIOUS)
    assert whole.shape == PREVIOUS.shape
    window = (size[0] + 10, size[1] + 10)
    inputs = stage.padded_inputs(noise_map, PREVIOUS)
    part = stage.generator(tuple(crop(x, tf.constant(corners), window) for x in inputs))
    np.testing.assert_allclose(part, numpy_crop(whole, corners, size), atol=1e-5)


@pytest.mark.parametrize("padding", PADDINGS)
def test_padded_inputs_add_padded_noise_to_the_padded_previous(make_stage, padding):
    stage = make_stage(padding=padding, amplitude=0.3)
    noise_map = stage.noise(SEEDS, 2, HEIGHT, WIDTH)
    mode = NUMPY_MODES[padding]
    expected = noise_map if padding == "noise" else numpy_pad(noise_map, mode)
    noisy, previous = stage.padded_inputs(noise_map, PREVIOUS)
    np.testing.assert_array_equal(previous, numpy_pad(PREVIOUS, mode))
    np.testing.assert_allclose(noisy - previous, 0.3 * expected, atol=1e-6)


@pytest.mark.parametrize("padding", ["zeros", "noise"])
@pytest.mark.parametrize("scale, channels", [(0, 1), (1, 3)])
def test_noise_has_one_channel_at_scale_0_and_a_margin_if_it_pads(
    make_stage, padding, scale, channels
):
    stage = make_stage(scale, padding=padding)
    extra = 10 if padding == "noise" else 0
    shape = (3, HEIGHT + extra, WIDTH + extra, channels)
    assert stage.noise(SEEDS, 0, HEIGHT, WIDTH).shape == shape


@pytest.mark.parametrize("size, corners", CROPS)
def test_the_noise_of_a_crop_is_zero_outside_the_image(make_stage, size, corners):
    noise_map = crop_noise(make_stage(padding="zeros"), corners, size)
    for row, corner in zip(noise_map, corners):
        expected = np.repeat(outside(corner, size)[..., None], 3, -1)
        np.testing.assert_array_equal(row == 0, expected)


@pytest.mark.parametrize("size, corners", CROPS)
def test_padding_noise_is_never_zero(make_stage, size, corners):
    noise_map = crop_noise(make_stage(padding="noise"), corners, size)
    assert np.all(noise_map != 0)


@pytest.mark.parametrize("size, corners", CROPS)
def test_the_noise_of_a_crop_is_mirrored_outside_the_image(make_stage, size, corners):
    noise_map = crop_noise(make_stage(padding="reflect"), corners, size)
    assert np.all(noise_map != 0)

    def mirrored(position, side):
        return abs(position) if position < side else 2 * (side - 1) - position

    for row, (top, left) in zip(noise_map, corners):
        for i, j in itertools.product(range(row.shape[0]), range(row.shape[1])):
            source_i = mirrored(i + top - 5, HEIGHT) - top + 5
            source_j = mirrored(j + left - 5, WIDTH) - left + 5
            np.testing.assert_array_equal(row[i, j], row[source_i, source_j])


@pytest.mark.parametrize("padding", ["zeros", "reflect", "circular"])
def test_the_noise_of_a_full_frame_is_its_inside_padded(make_stage, padding):
    stage = make_stage(padding=padding)
    noise_map = crop_noise(stage, [[0, 0]] * 3, (HEIGHT, WIDTH))
    inside = noise_map[:, 5:-5, 5:-5]
    np.testing.assert_array_equal(noise_map, numpy_pad(inside, NUMPY_MODES[padding]))


@pytest.mark.parametrize("size, corners", CROPS[1:])
def test_the_noise_of_a_crop_wraps_around_where_both_ends_are_seen(
    make_stage, size, corners
):
    noise_map = crop_noise(make_stage(padding="circular"), corners, size)
    assert np.all(noise_map != 0)
    for axis, (side, whole) in enumerate(zip(size, (HEIGHT, WIDTH))):
        if side == whole:
            rows = np.swapaxes(noise_map, 1, axis + 1)
            np.testing.assert_array_equal(rows[:, :10], rows[:, whole:])


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("size, corners", CROPS[:2])
def test_crop_noise_is_the_same_in_a_graph(make_stage, padding, size, corners):
    stage = make_stage(padding=padding)
    eager = crop_noise(stage, corners, size)
    graph = crop_noise(stage, corners, size, in_graph=True)
    np.testing.assert_array_equal(graph, eager)


@pytest.mark.parametrize("padding", PADDINGS)
def test_crop_noise_inside_the_image_is_standard_normal(make_stage, padding):
    stage = make_stage(padding=padding)
    stage.noise_amplitude.assign(1.0)
    padded = tf.zeros([2, 210, 110, 3])
    corners = tf.constant([[0, 0], [20, 10]])
    seeds = tf.constant([1, 2], tf.int64)
    noisy, _ = stage.padded_crop_inputs(seeds, 1, padded, corners, (180, 90))
    inside = noisy[:, 5:-5, 5:-5].numpy()
    # 97,200 numbers: five standard errors.
    assert inside.mean() == pytest.approx(0, abs=0.016)
    assert inside.std() == pytest.approx(1, abs=0.012)
    assert abs(np.corrcoef(inside[0].ravel(), inside[1].ravel())[0, 1]) < 0.024


def test_rows_with_the_same_seed_and_corner_get_the_same_crop_noise(make_stage):
    corners = [[0, 0], [2, 3], [2, 3]]
    noise_map = crop_noise(make_stage(), corners, (6, 6))
    np.testing.assert_array_equal(noise_map[1], noise_map[2])
    assert np.any(noise_map[0] != noise_map[1])


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("strip_pixels", [1, 40, 60, HEIGHT * WIDTH - 1])
def test_strips_give_the_whole_image(make_stage, monkeypatch, padding, strip_pixels):
    stage = make_stage(padding=padding)
    noise_map = stage.noise(SEEDS, 2, HEIGHT, WIDTH)
    whole = stage(noise_map, PREVIOUS)
    monkeypatch.setattr(stages, "_STRIP_PIXELS", strip_pixels)
    strips = stage(noise_map, PREVIOUS)
    assert strips.shape == whole.shape
    np.testing.assert_allclose(strips, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(9, 61), (61, 9)])
@pytest.mark.parametrize("in_graph", [False, True])
def test_strips_lie_across_the_longer_side(make_stage, monkeypatch, size, in_graph):
    stage = make_stage(padding="reflect")
    previous = tf.random.stateless_uniform([2, *size, 3], [1, 2], -1, 1)
    noise_map = stage.noise(SEEDS[:2], 2, *size)
    whole = stage(noise_map, previous)
    monkeypatch.setattr(stages, "_STRIP_PIXELS", 9 * 7)
    call, compute, seen = stage.__call__, stage.generator.call, []
    if in_graph:
        spec = tf.TensorSpec([None, None, None, 3])
        call = tf.function(call, input_signature=[spec, spec])

    def watch(inputs, training=False):
        tf.py_function(lambda x: seen.append(tuple(x)), [tf.shape(inputs[0])[1:3]], [])
        return compute(inputs, training)

    monkeypatch.setattr(stage.generator, "call", watch)
    np.testing.assert_allclose(call(noise_map, previous), whole, rtol=0, atol=1e-5)
    # The last of 9 strips has 5 of the 61 pixels; all have the margin around.
    strips = [sorted(int(side) - 10 for side in sides) for sides in seen]
    assert strips == 8 * [[7, 9]] + [[5, 9]]


@pytest.mark.parametrize("normalization", ["batch", "instance", "none"])
@pytest.mark.parametrize("strip_pixels", [40, 2**18])
def test_unknown_sizes_give_the_same_image(
    make_stage, monkeypatch, normalization, strip_pixels
):
    stage = make_stage(generator_normalization=normalization)
    noise_map = stage.noise(SEEDS, 2, HEIGHT, WIDTH)
    whole = stage(noise_map, PREVIOUS)
    monkeypatch.setattr(stages, "_STRIP_PIXELS", strip_pixels)
    spec = tf.TensorSpec([None, None, None, 3])
    graph = tf.function(stage.__call__, input_signature=[spec, spec])
    np.testing.assert_allclose(graph(noise_map, PREVIOUS), whole, rtol=0, atol=1e-5)


def test_instance_normalisation_sees_the_whole_image_however_large(
    make_stage, monkeypatch
):
    stage = make_stage(generator_normalization="instance")
    noise_map = stage.noise(SEEDS, 2, HEIGHT, WIDTH)
    whole = stage.generator(stage.padded_inputs(noise_map, PREVIOUS))
    monkeypatch.setattr(stages, "_STRIP_PIXELS", 40)
    np.testing.assert_allclose(stage(noise_map, PREVIOUS), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("padding", PADDINGS)
def test_no_noise_is_zero_noise(make_stage, padding):
    stage = make_stage(padding=padding)
    zeros = 0 * stage.noise(SEEDS, 2, HEIGHT, WIDTH)
    np.testing.assert_array_equal(stage(None, PREVIOUS), stage(zeros, PREVIOUS))


def test_noise_acts_through_its_amplitude(make_stage):
    stage = make_stage(amplitude=0.5)
    noise_map = stage.noise(SEEDS, 2, HEIGHT, WIDTH)
    strong = stage(noise_map, PREVIOUS)
    stage.noise_amplitude.assign(0.25)
    np.testing.assert_allclose(stage(2 * noise_map, PREVIOUS), strong, atol=1e-5)
    assert np.abs(stage(noise_map, PREVIOUS) - strong).max() > 0.01


def test_the_amplitude_is_saved_with_the_stage_but_not_trained(make_stage):
    stage = make_stage()
    assert any(v is stage.noise_amplitude for v in stage.variables)
    assert all(v is not stage.noise_amplitude for v in stage.trainable_variables)
    # Four layers of kernel, bias, gamma and beta, and a last one without the latter.
    assert len(stage.trainable_variables) == 18


@pytest.mark.parametrize(
    "size, corners", [((4, 6), [[0, 0], [10, 11], [3, 5]]), ((14, 17), [[0, 0]] * 3)]
)
def test_crop_cuts_a_window_from_each_image(size, corners):
    expected = numpy_crop(PREVIOUS, corners, size)
    windows = crop(PREVIOUS, tf.constant(corners), size)
    np.testing.assert_array_equal(windows, expected)
    same = crop(PREVIOUS[:1], tf.constant(corners), size)
    np.testing.assert_array_equal(same, numpy_crop([PREVIOUS[0]] * 3, corners, size))


def test_crop_beyond_the_image_is_an_error():
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        crop(PREVIOUS, tf.constant([[11, 0]] * 3), (4, 6))


PALETTE = np.array([[-0.8, 0, 0.5], [0.3, 0.3, 0.3], [0.9, -0.5, 0]], np.float32)


def test_the_nearest_colour_is_the_nearest():
    image = PREVIOUS.numpy()
    expected = np.empty_like(image)
    for index in np.ndindex(image.shape[:3]):
        distances = [sum((image[index] - colour) ** 2) for colour in PALETTE]
        expected[index] = PALETTE[np.argmin(distances)]
    np.testing.assert_array_equal(nearest_colours(image, PALETTE), expected)


def test_a_stage_with_a_palette_sees_only_its_colours_and_the_padding(make_stage):
    stage = make_stage(1, palette=PALETTE)
    plain = make_stage(1)
    noise_map = stage.noise(SEEDS, 0, HEIGHT, WIDTH)
    quantized = nearest_colours(PREVIOUS, PALETTE)
    np.testing.assert_array_equal(
        stage(noise_map, PREVIOUS), plain(noise_map, quantized)
    )
    padded = stage.pad(PREVIOUS)
    np.testing.assert_array_equal(padded, numpy_pad(quantized, "constant"))


GIVEN = np.array([-0.5, 0.0, 0.5], np.float32)


@pytest.fixture(scope="module")
def image_stage():
    """Gives one of three images, each of one value."""
    return stages.ImageStage(np.tile(GIVEN[:, None, None, None], [1, 9, 12, 3]))


def test_images_are_chosen_by_noise_each_as_often(image_stage):
    seeds = tf.range(300, dtype=tf.int64)
    chosen = image_stage(image_stage.noise(seeds, 2, 5, 7), tf.zeros([300, 5, 7, 3]))
    assert chosen.shape == (300, 5, 7, 3)
    values = chosen.numpy()[:, 0, 0, 0]
    np.testing.assert_allclose(chosen - values[:, None, None, None], 0, atol=1e-6)
    counts = [(abs(values - value) < 1e-6).sum() for value in GIVEN]
    assert sum(counts) == 300 and min(counts) > 70


def test_an_image_is_chosen_by_its_own_seed(image_stage):
    previous = tf.zeros([1, 4, 4, 3])
    together = image_stage(image_stage.noise(SEEDS, 2, 4, 4), tf.zeros([3, 4, 4, 3]))
    for row, seed in enumerate(SEEDS):
        alone = image_stage(image_stage.noise(seed[None], 2, 4, 4), previous)
        np.testing.assert_allclose(alone[0], together[row], atol=1e-6)


def test_without_noise_it_is_the_first_image(image_stage):
    image = image_stage(None, tf.zeros([1, 6, 8, 3]))
    np.testing.assert_allclose(image, np.full([1, 6, 8, 3], GIVEN[0]), atol=1e-6)


@pytest.mark.parametrize("scale", [1, 2])
def test_what_it_gives_enters_as_an_injected_image_does(make_stage, scale):
    sizes = [(8, 10), (11, 14), (16, 20)]
    given = np.random.default_rng(1).uniform(-1, 1, [1, 16, 20, 3]).astype(np.float32)
    singan = SinGAN(sizes, 3)
    singan.stages = [stages.ImageStage(given)] * scale
    singan.stages += [make_stage(each) for each in range(scale, 3)]
    expected = singan.inject(tf.constant(given), scale, [7]).numpy()
    np.testing.assert_allclose(singan.sample([7]), expected, atol=1e-6)
    still = singan.inject(tf.constant(given), scale, [7], noise_scale=0.0)
    np.testing.assert_allclose(singan.reconstruct(), still, atol=1e-6)


def patch_stage(scale, **settings):
    """A stage of patches of 11x14 pixels that has seen a photograph."""
    settings = config.from_settings({"patch_scales": 2, **settings})
    stage = stages.build_stage(settings, scale, (11, 14))
    small = np.random.default_rng(scale).uniform(-1, 1, (2, 4, 5, 3))
    real, previous = resize(tf.constant(small, tf.float32), 11, 14)[:, tf.newaxis]
    stage.remember(real, previous)
    return stage, real, previous


def wrapped(position, side):
    return position % side


def mirrored(position, side):
    """By reflection at either border, as often as it takes."""
    while not 0 <= position < side:
        position = -1 - position if position < 0 else 2 * side - 1 - position
    return position


@pytest.mark.parametrize(("wrap", "inside"), [(True, wrapped), (False, mirrored)])
def test_content_is_moved_pixel_by_pixel(wrap, inside):
    rng = np.random.default_rng(0)
    image = rng.uniform(-1, 1, (2, 6, 9, 3)).astype(np.float32)
    # A shift for each pixel, so that nothing is interpolated; some beyond a border.
    moves = rng.integers(-20, 21, (2, 6, 9, 2))
    moved = displacement.displace(image, tf.constant(moves / 9, tf.float32), wrap)
    for sample, row, column in np.ndindex(2, 6, 9):
        down, across = moves[sample, row, column]
        source = inside(row + down, 6), inside(column + across, 9)
        np.testing.assert_array_equal(
            moved[sample, row, column], image[(sample, *source)]
        )


def test_a_displacement_is_a_share_of_the_longer_side():
    image = np.arange(20 * 30, dtype=np.float32).reshape(1, 20, 30, 1)
    moved = displacement.displace(image, tf.fill([1, 3, 3, 2], 0.1), wrap=True)
    np.testing.assert_array_equal(moved, np.roll(image, (-3, -3), axis=(1, 2)))


@pytest.mark.parametrize("size", [(11, 14), (9, 21)])
def test_the_coarsest_patches_are_those_of_the_photograph_moved_about(size):
    stage, real, _ = patch_stage(0, layout_shift=0.2, patch_iterations=3)
    noise_map = stage.noise(SEEDS, 0, *size)
    np.testing.assert_array_equal(noise_map, noise.normal(SEEDS, 0, [4, 4, 2]))
    image = tf.repeat(tf.clip_by_value(resize(real, *size), -1, 1), 3, axis=0)
    query = displacement.displace(image, 0.2 * noise_map, wrap=False)
    expected = patch_matching.rearrange(query, real, real, 3)
    made = stage(noise_map, PREVIOUS[:, : size[0], :1] * tf.ones([1, 1, size[1], 1]))
    np.testing.assert_array_equal(made, expected)
    assert np.abs(made - stage(None, made)).max() > 0.1


def test_patches_above_sharpen_the_previous_image():
    stage, real, previous = patch_stage(1, patch_iterations=2)
    expected = patch_matching.rearrange(PREVIOUS, previous, real, 2)
    np.testing.assert_array_equal(stage(None, PREVIOUS), expected)
    noise_map = stage.noise(SEEDS, 1, HEIGHT, WIDTH)
    np.testing.assert_array_equal(stage(noise_map, PREVIOUS), expected)


@pytest.mark.parametrize("scale", [0, 1])
def test_patches_restore_the_photograph_to_the_last_bit(scale):
    stage, real, previous = patch_stage(scale)
    np.testing.assert_array_equal(stage.restore(None, previous), real)
    # Which is what they make of it, but for rounding.
    np.testing.assert_allclose(stage(None, previous), real, atol=1e-5)


def test_patches_wrap_around_with_circular_padding():
    stage, real, previous = patch_stage(1, padding="circular")
    expected = patch_matching.rearrange(PREVIOUS, previous, real, 5, wrap=True)
    np.testing.assert_array_equal(stage(None, PREVIOUS), expected)


def test_nothing_of_a_patch_stage_is_trained_and_all_of_it_is_saved():
    stage, real, previous = patch_stage(1)
    assert not stage.trainable_variables
    assert {variable.shape.rank for variable in stage.variables} == {0, 4}
    assert len(stage.variables) == 3


def test_the_first_scales_are_patches_and_the_others_convolutions():
    settings = config.from_settings({"patch_scales": 1, "layout_shift": 0.7})
    first, second = (stages.build_stage(settings, scale, (9, 9)) for scale in (0, 1))
    assert isinstance(first, stages.PatchStage)
    assert first.noise_amplitude.numpy() == np.float32(0.7)
    assert isinstance(second, stages.ConvolutionalStage)
