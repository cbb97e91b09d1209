"""Graphs for other runtimes compute what TensorFlow's own do."""

import numpy as np
import pytest
import tensorflow as tf
from pyramids import SIZES, build, random_image

from singan_tf.model import portable
from singan_tf.model.patch_stage import PatchStage
from singan_tf.model.pyramid import image_pyramid
from singan_tf.model.singan import SinGAN
from singan_tf.tasks import super_resolution

SIDES = SIZES[-1]
SPECS = {
    "image": tf.TensorSpec([1, *SIDES, 3], tf.float32),
    "scale": tf.TensorSpec([], tf.int32),
    "seeds": tf.TensorSpec([1], tf.int64),
}
IMAGE = tf.constant(random_image(*SIDES, seed=4))
# What converters know nothing of, or do not follow.
FOREIGN = ("Stateless", "While", "If", "TensorList", "PartitionedCall", "SelfAdjoint")


def patches(photograph, votes, wrap=False, trained=()):
    """A pyramid of patches, but for the scales of stages that are given."""
    singan = SinGAN(SIZES, 3)
    reals = image_pyramid(photograph, SIZES)
    for scale, (size, real) in enumerate(zip(SIZES, reals)):
        stage = PatchStage(
            size, 3, 2, 0.2 if scale == 0 else 0.0, scale == 0, wrap, votes
        )
        stage.remember(real, real)
        singan.append(dict(trained).get(scale, stage), None)
    singan.set_reconstruction_noise(None)
    return singan


KINDS = [
    "trained",
    "mixed",
    *(
        pytest.param(kind, marks=pytest.mark.slow)
        for kind in ("circular", "patches", "votes", "tile")
    ),
]


@pytest.fixture(scope="module", params=KINDS)
def singan(request, make_stage):
    photograph = tf.constant(random_image(*SIDES, seed=1))
    if request.param == "trained":
        return build(make_stage)
    if request.param == "circular":
        return build(make_stage, padding="circular")
    if request.param == "mixed":
        return patches(photograph, True, trained=[(2, make_stage(2))])
    return patches(photograph, request.param != "patches", request.param == "tile")


def traced(function, *names):
    """The function as a graph for other runtimes."""
    specs = [SPECS[name] for name in names]
    graph = tf.function(function, input_signature=specs, autograph=False)
    with portable.graphs():
        concrete = graph.get_concrete_function()
    definition = concrete.graph.as_graph_def()
    nodes = [
        *definition.node,
        *(n for f in definition.library.function for n in f.node_def),
    ]
    found = {node.op for node in nodes}
    assert not {op for op in found if op.startswith(FOREIGN)}
    return concrete


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_samples(singan):
    def sample(seeds, scale):
        return singan.sample(seeds, scale)

    graph = traced(sample, "seeds", "scale")
    for seed, scale in ((3, 0), (-7, 0), (2**40, 1), (3, 2)):
        seeds = tf.constant([seed], tf.int64)
        assert_close(graph(seeds, tf.constant(scale)), singan.sample(seeds, scale))


def test_injected_images(singan):
    graph = traced(singan.inject, "image", "scale", "seeds")
    seeds = tf.constant([5], tf.int64)
    for scale in (1, 2):
        found = graph(IMAGE, tf.constant(scale), seeds)
        assert_close(found, singan.inject(IMAGE, scale, seeds))


def test_enlarged_images(singan):
    sizes = super_resolution.super_resolution_sizes(*SIDES, 2)

    def enlarge(image, seeds):
        return super_resolution.written_out(singan, image, sizes, seeds)

    found = traced(enlarge, "image", "seeds")(IMAGE, tf.constant([6], tf.int64))
    assert_close(found, super_resolution.super_resolve(singan, IMAGE.numpy(), 2, 6))


def test_only_what_is_traced_within_is_for_others(make_stage):
    singan = build(make_stage)
    seeds = tf.constant([3], tf.int64)
    before = singan.sample(seeds)
    with pytest.raises(ZeroDivisionError), portable.graphs():
        assert portable.tracing()
        raise ZeroDivisionError
    assert not portable.tracing()
    np.testing.assert_array_equal(singan.sample(seeds), before)
    operations = singan.sampler().get_concrete_function().graph.as_graph_def()
    assert "StatelessRandomNormal" in str(operations)
