import dataclasses
import math
import re
from fractions import Fraction

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from singan_tf.config import PyramidConfig
from singan_tf.errors import UserError
from singan_tf.model.pyramid import image_pyramid, plan_scales, resized_scales

MANY = settings(max_examples=500, derandomize=True, database=None, deadline=None)
SIDES = st.integers(8, 60) | st.integers(8, 1500)
CONFIGS = st.builds(
    PyramidConfig,
    min_size=st.integers(8, 40),
    max_size=st.integers(8, 300) | st.integers(8, 2000),
    scale_factor=st.integers(10, 95).map(lambda percent: percent / 100),
)


def steps_down(ratio, factor):
    """Smallest n with factor ** n <= ratio: ceil(log(ratio, factor)), exactly."""
    factor, n = Fraction(str(factor)), 0
    while factor**n > ratio:
        n += 1
    return n


def reference_last_scale(height, width, config):
    """The reference code's arithmetic, in exact fractions."""
    longest = max(height, width)
    coarsest = Fraction(config.min_size, min(height, width))
    num_scales = steps_down(coarsest, config.scale_factor) + 1
    scale2stop = steps_down(
        Fraction(min(config.max_size, longest), longest), config.scale_factor
    )
    return num_scales - scale2stop


def shrunk_to_max_size(height, width, max_size):
    longest = max(height, width)
    shrink = min(Fraction(max_size, longest), 1)
    return math.ceil(height * shrink), math.ceil(width * shrink)


def exact_sizes(finest, min_size, last):
    """Every scale's size from the fitted factor, in floating point."""
    factor = (min_size / min(finest)) ** (1 / last) if last else 1.0
    powers = [factor ** (last - n) for n in range(last + 1)]
    return [(finest[0] * p, finest[1] * p) for p in powers]


def check_sizes(scales, height, width, config):
    sizes = scales.sizes
    finest = shrunk_to_max_size(height, width, config.max_size)
    assert sizes[-1] == finest
    assert finest[0] <= height and finest[1] <= width
    assert min(sizes[0]) == config.min_size
    for coarse, fine in zip(sizes, sizes[1:]):
        assert coarse[0] < fine[0] and coarse[1] < fine[1]
    # Rounded up, as the reference's resize does.
    for size, exact in zip(sizes, exact_sizes(finest, config.min_size, len(sizes) - 1)):
        for side, value in zip(size, exact):
            assert value - 1e-5 <= side < value + 1
    assert all(isinstance(side, int) for size in sizes for side in size)


@pytest.mark.parametrize(
    "height, width, count, factor, coarsest, finest",
    [
        (186, 248, 9, 0.778, (25, 34), (186, 248)),
        (188, 250, 10, 0.799, (25, 34), (188, 250)),
        (250, 250, 11, 0.794, (25, 25), (250, 250)),
        # Orientation changes nothing.
        (248, 186, 9, 0.778, (34, 25), (248, 186)),
        # Larger photographs are shrunk: num_scales 12, scale2stop 3.
        (500, 500, 10, 0.774, (25, 25), (250, 250)),
        # At and below the coarsest scale's size there is nothing to grow.
        (25, 25, 1, 1.0, (25, 25), (25, 25)),
        (25, 100, 1, 1.0, (25, 100), (25, 100)),
        (26, 26, 2, 0.962, (25, 25), (26, 26)),
    ],
)
def test_known_answers(height, width, count, factor, coarsest, finest):
    scales = plan_scales(height, width, PyramidConfig())
    assert len(scales.sizes) == count
    assert scales.factor == pytest.approx(factor, abs=5e-4)
    assert scales.sizes[0] == coarsest
    assert scales.sizes[-1] == finest


def advised(message):
    """The flags that a message tells to use, with their values."""
    way_out = message.rpartition("; use ")[2]
    return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", way_out)}


@MANY
@given(SIDES, SIDES, CONFIGS)
def test_sizes_grow_from_min_size_to_the_photograph(height, width, config):
    finest = shrunk_to_max_size(height, width, config.max_size)
    if min(finest) < config.min_size:
        with pytest.raises(UserError) as caught:
            plan_scales(height, width, config)
        assert "\n" not in str(caught.value)
        # Each way out that is named is one, and none that is one is kept back.
        named = advised(str(caught.value))
        assert set(named) == {
            *["min_size"] * (min(finest) >= 11),
            *["max_size"] * (min(height, width) >= config.min_size),
        }
        for name, value in named.items():
            plan_scales(height, width, dataclasses.replace(config, **{name: value}))
        return
    scales = plan_scales(height, width, config)
    check_sizes(scales, height, width, config)
    assert len(scales.sizes) <= max(reference_last_scale(height, width, config), 0) + 1


@MANY
@given(st.integers(200, 1500), st.integers(200, 1500))
def test_the_number_of_scales_is_the_reference_codes(height, width):
    config = PyramidConfig()
    finest = shrunk_to_max_size(height, width, config.max_size)
    if min(finest) < 100:
        return
    count = reference_last_scale(height, width, config) + 1
    assert len(plan_scales(height, width, config).sizes) == count


@MANY
@given(st.integers(8, 400), st.integers(8, 400), st.integers(8, 40), st.integers(1, 64))
def test_an_asked_number_of_scales_is_given_or_refused(height, width, low, count):
    config = PyramidConfig(min_size=low, num_scales=count)
    finest = shrunk_to_max_size(height, width, config.max_size)
    if min(finest) < low:
        return
    try:
        scales = plan_scales(height, width, config)
    except UserError as error:
        assert f"num_scales={count}" in str(error)
        assert "min_size" in str(error)
        assert "\n" not in str(error)
        if count == 1:
            assert min(finest) != low
        else:
            steps = np.diff(exact_sizes(finest, low, count - 1), axis=0)
            # Neighbours a whole pixel apart are never equal.
            assert steps.min() < 1
    else:
        assert len(scales.sizes) == count
        check_sizes(scales, height, width, config)


@pytest.mark.parametrize(
    "height, width, values, flags",
    [
        (24, 100, {}, ["min_size=25"]),
        (100, 24, {}, ["min_size=25"]),
        (1, 1, {}, ["min_size=25"]),
        # Wide enough as it is, too narrow once its longest side is 250.
        (60, 1000, {}, ["min_size=25", "max_size=250"]),
        (100, 100, {"min_size": 60, "max_size": 50}, ["min_size", "max_size"]),
        (100, 100, {"num_scales": 1}, ["num_scales=1", "min_size"]),
        (40, 40, {"num_scales": 20}, ["num_scales=20", "min_size=25"]),
        (25, 25, {"num_scales": 2}, ["num_scales=2", "min_size=25"]),
    ],
)
def test_impossible_pyramids_are_one_sentence_with_the_flag(
    height, width, values, flags
):
    with pytest.raises(UserError) as caught:
        plan_scales(height, width, PyramidConfig(**values))
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    for flag in flags:
        assert flag in message


def test_the_only_possible_single_scale_is_given():
    scales = plan_scales(25, 40, PyramidConfig(num_scales=1))
    assert scales.sizes == [(25, 40)] and scales.factor == 1


@MANY
@given(st.integers(25, 800), st.integers(25, 800))
def test_resized_scales_give_back_the_photographs_own(height, width):
    config = PyramidConfig(min_size=8)
    if min(shrunk_to_max_size(height, width, config.max_size)) >= 8:
        sizes = plan_scales(height, width, config).sizes
        assert resized_scales(sizes, *sizes[-1]) == sizes


SIZES = [(25, 34), (69, 92), (186, 248)]


@pytest.mark.parametrize("height, width", [(186, 248), (372, 200), (31, 999)])
def test_resized_scales_round_the_exact_ratio_and_end_as_asked(height, width):
    sizes = resized_scales(SIZES, height, width)
    assert sizes[-1] == (height, width)
    for (h, w), (new_height, new_width) in zip(SIZES, sizes):
        assert new_height == math.floor(Fraction(h * height, 186) + Fraction(1, 2))
        assert new_width == math.floor(Fraction(w * width, 248) + Fraction(1, 2))


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
def test_resized_scales_are_the_same_for_tensors_in_a_graph(dtype):
    signature = [tf.TensorSpec([], dtype)] * 2

    @tf.function(input_signature=signature)
    def graph(height, width):
        return [tf.stack(size) for size in resized_scales(SIZES, height, width)]

    for height, width in [(186, 248), (372, 200), (31, 999)]:
        given = graph(tf.constant(height, dtype), tf.constant(width, dtype))
        expected = resized_scales(SIZES, height, width)
        assert [tuple(size) for size in np.array(given)] == expected


@pytest.fixture(scope="module")
def photograph():
    """Hard edges, so that cubic interpolation overshoots [-1, 1]."""
    squares = np.indices((40, 50)).sum(0) // 5 % 2 * 2.0 - 1
    return tf.constant(np.repeat(squares[None, ..., None], 3, -1), tf.float32)


@pytest.mark.parametrize(
    "sizes", [[(40, 50)], [(10, 13), (21, 26), (40, 50)], [(9, 12), (31, 39)]]
)
def test_reals_have_their_sizes_and_stay_in_range(photograph, sizes):
    reals = image_pyramid(photograph, sizes)
    assert [real.shape for real in reals] == [(1, h, w, 3) for h, w in sizes]
    assert all(real.dtype == tf.float32 for real in reals)
    assert all(np.abs(real).max() <= 1 for real in reals)


def test_an_unshrunk_photograph_is_the_finest_real(photograph):
    reals = image_pyramid(photograph, [(10, 13), (40, 50)])
    np.testing.assert_array_equal(reals[-1], photograph)


def test_coarser_reals_keep_the_mean_of_the_photograph(photograph):
    smooth = tf.nn.avg_pool2d(photograph, 9, 1, "SAME") / 2 + 0.25
    for real in image_pyramid(smooth, [(20, 25), (40, 50)]):
        assert np.mean(real) == pytest.approx(np.mean(smooth), abs=0.01)
