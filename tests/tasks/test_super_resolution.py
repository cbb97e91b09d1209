import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from pyramids import brought_up, build, clip, random_image

from singan_tf.tasks import (
    super_resolution,
)


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
