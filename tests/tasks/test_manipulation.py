import fractions
import itertools
import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from singan_tf.model import noise
from singan_tf.model.resize import resize
from singan_tf.model.singan import SinGAN
from singan_tf.tasks import (
    animation,
    inpainting,
    masks,
    painting,
    sketching,
    super_resolution,
)
from singan_tf.tasks.animation import Walk

SIZES = [(8, 10), (11, 14), (16, 20)]
WALK = Walk(start_scale=0, alpha=0.1, beta=0.9, frames=6, loop=False, seed=4)


def build(make_stage, channels=3, **settings):
    model = SinGAN(SIZES, channels)
    for scale in range(3):
        amplitude = 1.0 if scale == 0 else 0.3
        stage = make_stage(scale, amplitude, channels=channels, **settings)
        model.stages.append(stage)
    model.set_reconstruction_noise(11)
    return model


@pytest.fixture(scope="module", params=["zeros", "noise"])
def model(request, make_stage):
    return build(make_stage, padding=request.param)


def random_image(height, width, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (1, height, width, channels)).astype(np.float32)


def square_mask(height=40, width=50, top=15, left=20, side=6):
    mask = np.zeros([height, width], bool)
    mask[top : top + side, left : left + side] = True
    return mask


def clip(x):
    return np.clip(x, -1, 1)


def brought_up(x, size):
    return clip(resize(tf.constant(x), *size).numpy())


@pytest.mark.parametrize("radius", [0, 1, 4, 7])
def test_a_mask_is_widened_by_a_disk(radius):
    mask = square_mask()
    mask[2, 47] = True
    expected = np.zeros(mask.shape)
    inside = np.argwhere(mask)
    for y, x in itertools.product(*map(range, mask.shape)):
        distances = ((inside - [y, x]) ** 2).sum(axis=1)
        expected[y, x] = distances.min() <= radius**2
    softened = masks.soften_mask(mask.astype(np.float32), radius, 0)
    assert softened.dtype == np.float32
    np.testing.assert_array_equal(softened, expected)


def test_a_mask_is_blurred_by_a_gaussian_and_ends():
    sigma, reach = 2.5, 10
    mask = square_mask()
    kernel = [math.exp(-0.5 * (i / sigma) ** 2) for i in range(-reach, reach + 1)]
    kernel = np.array(kernel) / sum(kernel)
    expected = mask.astype(float)
    for axis in (0, 1):
        margins = [(reach, reach) if axis == a else (0, 0) for a in (0, 1)]
        padded = np.pad(expected, margins, mode="edge")
        expected = np.apply_along_axis(np.convolve, axis, padded, kernel, "valid")
    softened = masks.soften_mask(mask, 0, sigma)
    np.testing.assert_allclose(softened, expected, atol=1e-6)
    rows, columns = np.nonzero(softened)
    assert (rows.min(), rows.max()) == (15 - reach, 20 + reach)
    assert (columns.min(), columns.max()) == (20 - reach, 25 + reach)


def test_a_mask_that_is_neither_widened_nor_blurred_is_as_it_was():
    mask = np.random.default_rng(0).uniform(0, 1, [20, 30]).astype(np.float32)
    softened = masks.soften_mask(mask, 0, 0)
    np.testing.assert_array_equal(softened, mask)
    assert (masks.soften_mask(mask, 0, 0.1) != mask).any()


@pytest.mark.parametrize(
    "size", [(3, 4), (20, 30), (7, 11), (19, 29), (31, 47), (40, 60), (1, 1)]
)
def test_a_pixel_of_a_resized_mask_is_the_brightest_that_it_overlaps(size):
    mask = np.random.default_rng(0).uniform(0, 1, [20, 30])

    def overlapped(index, source, target):
        step = fractions.Fraction(source, target)
        first, end = index * step, (index + 1) * step
        return [p for p in range(source) if p < end and p + 1 > first]

    expected = [
        [
            mask[np.ix_(overlapped(y, 20, size[0]), overlapped(x, 30, size[1]))].max()
            for x in range(size[1])
        ]
        for y in range(size[0])
    ]
    np.testing.assert_array_equal(masks.resize_mask(mask, *size), expected)
    np.testing.assert_array_equal(
        masks.resize_mask(mask > 0.9, *size), np.array(expected) > 0.9
    )


@pytest.mark.parametrize("value", [False, True])
def test_an_empty_and_a_full_mask_stay_so(value):
    softened = masks.soften_mask(np.full([30, 20], value), 5, 3)
    np.testing.assert_array_equal(softened, np.full([30, 20], float(value)))


def test_a_blend_is_exact_where_the_mask_is_0_or_1():
    original, changed = random_image(9, 8), random_image(9, 8, seed=1)
    mask = np.random.default_rng(2).choice([0, 0.5, 1], [9, 8]).astype(np.float32)
    blended = masks.blend(original, changed, mask)
    np.testing.assert_array_equal(blended[:, mask == 0], original[:, mask == 0])
    np.testing.assert_array_equal(blended[:, mask == 1], changed[:, mask == 1])
    middle = (original + changed) / 2
    np.testing.assert_allclose(blended[:, mask == 0.5], middle[:, mask == 0.5], 1e-5)


def test_redrawing_is_injecting(model):
    image = random_image(13, 17)
    expected = model.inject(tf.constant(image), 1, [7]).numpy()
    np.testing.assert_array_equal(painting.redraw(model, image, 1, 7), expected)
    assert (painting.redraw(model, image, 1, 8) != expected).any()


def test_a_smooth_picture_comes_back_where_it_was_cut_out():
    """Harmonic functions are what a membrane on their border is."""
    y, x = np.mgrid[-1:1:150j, -1.4:1.4:211j]
    smooth = [0.7 * x, (x**2 - y**2) / 2, np.exp(1.5 * x) * np.sin(1.5 * y) / 8]
    picture = np.stack(smooth, axis=-1).astype(np.float32)[np.newaxis]
    hole = (abs(y - 0.5) < 0.02) | (abs(x - y) < 0.02)
    hole |= (np.hypot(x - 0.3, y + 0.2) < 0.4) | (np.hypot(x + 0.9, y) < 0.006)
    assert 0.1 < hole.mean() < 0.3
    torn = np.where(hole[..., np.newaxis], np.float32(9), picture)
    filled = inpainting.fill_hole(torn, hole)
    assert filled.dtype == np.float32
    np.testing.assert_allclose(filled, picture, atol=0.02)
    np.testing.assert_array_equal(filled[0, ~hole], picture[0, ~hole])


@pytest.mark.parametrize("size", [(9, 1), (1, 8), (2, 2), (33, 17)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_hole_is_filled_with_colours_of_what_is_left(size, channels):
    """Also if that is a single pixel, in a corner."""
    image = random_image(*size, channels)
    hole = np.ones(size, bool)
    hole[-1, -1] = False
    filled = inpainting.fill_hole(image, hole)
    np.testing.assert_allclose(
        filled, np.broadcast_to(image[:, -1:, -1:], image.shape), atol=1e-6
    )
    nothing = np.zeros(size, bool)
    np.testing.assert_array_equal(inpainting.fill_hole(image, nothing), image)


def test_a_hole_without_a_border_is_refused():
    with pytest.raises(ValueError, match="whole image"):
        inpainting.fill_hole(random_image(5, 5), np.ones([5, 5], bool))


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

    class Noise:
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


def test_an_image_enters_as_blurred_as_the_scale_below(model):
    image = random_image(32, 40)
    expected = brought_up(brought_up(image, (16, 20)), (22, 28))
    entered = painting.entering(model, image, 1)
    np.testing.assert_allclose(entered, expected, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_step_is_drawn_as_a_line_along_it(channels):
    image = np.full([1, 20, 31, channels], -0.5, np.float32)
    image[:, :, 15:] = 0.5
    drawn = sketching.sketch(image)
    assert drawn.shape == image.shape and drawn.dtype == np.float32
    assert set(np.unique(drawn)) == {-1, 1}
    assert (drawn == drawn[..., :1]).all()
    lines = drawn[0, :, :, 0] == -1
    assert not np.delete(lines, [14, 15], axis=1).any()
    # An edge detector does not see beyond the border.
    assert lines[2:-2].any(axis=1).all()


def test_a_disk_is_drawn_as_its_circle():
    y, x = np.mgrid[:50, :60]
    distance = np.hypot(y - 24, x - 31)
    image = np.where(distance < 15, 0.9, -0.2).astype(np.float32)[None, :, :, None]
    lines = sketching.sketch(image)[0, :, :, 0] == -1
    assert (abs(distance[lines] - 15) < 1.5).all()
    # All around: in every tenth of the full angle.
    angles = np.arctan2(y - 24, x - 31)[lines]
    assert (np.histogram(angles, 10, (-np.pi, np.pi))[0] >= 5).all()


def test_nothing_is_drawn_where_nothing_is():
    """Also where gradients are so rare that rounding is among the strongest tenth."""
    image = np.full([1, 60, 60, 3], 0.3, np.float32)
    image[:, 40:46, 20:26] = 0.31
    lines = sketching.sketch(image)[0, :, :, 0] == -1
    assert lines[37:49, 17:29].sum() >= 12
    lines[37:49, 17:29] = False
    assert not lines.any()


def test_a_pale_image_has_the_lines_of_a_strong_one():
    image = random_image(40, 50)
    drawn = sketching.sketch(image)
    assert 0 < (drawn == -1).mean() < 0.3
    np.testing.assert_array_equal(sketching.sketch(image / 16), drawn)


@pytest.mark.parametrize("size", [(1, 1), (30, 40)])
def test_an_image_of_one_colour_has_no_lines(size):
    image = np.full([1, *size, 3], 0.3, np.float32)
    assert (sketching.sketch(image) == 1).all()
