import numpy as np
import pytest
import tensorflow as tf

from singan_tf.model import patch_matching
from singan_tf.model.patch_matching import rearrange

RNG = np.random.default_rng(0)
QUERY = RNG.uniform(-2, 2, (2, 12, 9, 3)).astype(np.float32)
KEYS, PHOTOGRAPH = RNG.uniform(-1, 1, (2, 1, 10, 13, 3)).astype(np.float32)


def windows(image, wrap=False):
    """All 7x7 patches, [rows, columns, 7, 7, C]."""
    if wrap:
        image = np.pad(image, [(0, 6), (0, 6), (0, 0)], "wrap")
    found = np.lib.stride_tricks.sliding_window_view(image, (7, 7), axis=(0, 1))
    return np.moveaxis(found, 2, -1)


def written_out(query, keys, photograph, iterations, wrap=False, stride=1, alpha=0.005):
    """Granot et al., section 3, patch by patch, for one image in float64.

    Keys and photograph may be lists of several.
    """
    keys, photograph = (x if isinstance(x, list) else [x] for x in (keys, photograph))
    query = query.astype(np.float64)
    height, width = query.shape[:2]
    if not wrap:
        beyond = [(0, (7 - side) % stride) for side in (height, width)]
        query = np.pad(query, [*beyond, (0, 0)], "symmetric")
    for iteration in range(iterations):
        seen, values = (
            np.concatenate([windows(x).reshape(-1, 7, 7, x.shape[2]) for x in several])
            for several in (keys if iteration == 0 else photograph, photograph)
        )
        patches = windows(query, wrap)[::stride, ::stride]
        distances = np.array(
            [[[np.mean((p - k) ** 2) for k in seen] for p in row] for row in patches]
        )
        if alpha < np.inf:
            distances = distances / (alpha + distances.min(axis=(0, 1)))
        best = np.argmin(distances, axis=-1)
        total, count = np.zeros_like(query), np.zeros(query.shape[:2])
        for top, left in np.ndindex(best.shape):
            for i, j in np.ndindex(7, 7):
                place = (
                    (top * stride + i) % query.shape[0],
                    (left * stride + j) % query.shape[1],
                )
                total[place] += values[best[top, left], i, j]
                count[place] += 1
        query = total / count[..., None]
    return query[:height, :width]


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_the_method_written_out(wrap, iterations, channels):
    images = [x[..., :channels] for x in (QUERY, KEYS, PHOTOGRAPH)]
    made = rearrange(*images, iterations, wrap)
    for row, query in zip(made.numpy(), images[0]):
        expected = written_out(query, images[1][0], images[2][0], iterations, wrap)
        np.testing.assert_allclose(row, expected, atol=1e-5)


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("stride", [2, 3, 4])
def test_a_stride_leaves_out_patches_of_the_query(wrap, stride):
    made = rearrange(QUERY, KEYS, PHOTOGRAPH, 2, wrap, stride)
    for row, query in zip(made.numpy(), QUERY):
        expected = written_out(query, KEYS[0], PHOTOGRAPH[0], 2, wrap, stride)
        np.testing.assert_allclose(row, expected, atol=1e-5)


@pytest.mark.parametrize("alpha", [0.005, np.inf])
def test_several_photographs_are_searched_as_one(alpha):
    others = [RNG.uniform(-1, 1, (1, 9, 17, 3)).astype(np.float32) for _ in "kp"]
    keys, photographs = [KEYS, others[0]], [PHOTOGRAPH, others[1]]
    made = rearrange(QUERY, keys, photographs, 2, stride=2, alpha=alpha)
    for row, query in zip(made.numpy(), QUERY):
        known, seen = ([x[0] for x in each] for each in (keys, photographs))
        expected = written_out(query, known, seen, 2, False, 2, alpha)
        np.testing.assert_allclose(row, expected, atol=1e-5)


@pytest.mark.parametrize("cells", [1, 500])
def test_groups_change_nothing(cells):
    whole = rearrange(QUERY, KEYS, PHOTOGRAPH, 2)
    grouped = rearrange(QUERY, KEYS, PHOTOGRAPH, 2, table_cells=cells)
    np.testing.assert_allclose(grouped, whole, atol=1e-6)


def test_the_photograph_stays_as_it_is():
    made = rearrange(PHOTOGRAPH, PHOTOGRAPH, PHOTOGRAPH, 5)
    np.testing.assert_allclose(made, PHOTOGRAPH, atol=1e-6)


def test_of_equal_scores_the_first_wins():
    made = rearrange(QUERY, np.zeros_like(KEYS), PHOTOGRAPH, 1, table_cells=1)
    first = PHOTOGRAPH[0, :7, :7]
    np.testing.assert_allclose(made[:, 0, 0], [first[0, 0]] * 2, atol=1e-6)
    np.testing.assert_allclose(made[:, -1, -1], [first[-1, -1]] * 2, atol=1e-6)
    # All 49 patches that cover the middle show all of their 49 pixels there.
    middle = rearrange(QUERY, np.zeros_like(KEYS), PHOTOGRAPH, 1, wrap=True)
    np.testing.assert_allclose(
        middle, np.broadcast_to(first.mean((0, 1)), QUERY.shape), atol=1e-6
    )


def test_a_tile_has_no_borders():
    """What is moved around the tile comes out moved around the tile."""
    moved = np.roll(QUERY, (5, 2), axis=(1, 2))
    made = rearrange(QUERY, KEYS, PHOTOGRAPH, 2, wrap=True)
    again = rearrange(moved, KEYS, PHOTOGRAPH, 2, wrap=True)
    np.testing.assert_allclose(again, np.roll(made, (5, 2), axis=(1, 2)), atol=1e-5)


@pytest.mark.parametrize("size", [(4, 9), (6, 6), (12, 5)])
def test_what_is_smaller_than_a_patch_is_mirrored(size):
    small = QUERY[:, : size[0], : size[1]]
    missing = [(0, max(7 - side, 0)) for side in size]
    mirrored = np.pad(small, [(0, 0), *missing, (0, 0)], "symmetric")
    made = rearrange(small, KEYS, PHOTOGRAPH, 2)
    assert made.shape == small.shape
    whole = rearrange(mirrored, KEYS, PHOTOGRAPH, 2)
    np.testing.assert_allclose(made, whole[:, : size[0], : size[1]], atol=1e-6)


def test_a_row_is_the_same_without_the_others():
    both = rearrange(QUERY, KEYS, PHOTOGRAPH, 2)
    for index in (0, 1):
        alone = rearrange(QUERY[index : index + 1], KEYS, PHOTOGRAPH, 2)
        np.testing.assert_array_equal(alone[0], both[index])


@pytest.mark.parametrize("shape", [QUERY.shape, [None, None, None, 3]])
def test_a_graph_gives_the_same_bits(shape):
    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)])
    def graph(query):
        return rearrange(query, KEYS, PHOTOGRAPH, 3)

    eager = rearrange(QUERY, KEYS, PHOTOGRAPH, 3)
    assert eager.shape == QUERY.shape
    for _ in range(2):
        np.testing.assert_array_equal(graph(QUERY), eager)


def test_memory_does_not_grow_with_the_product_of_the_sizes(monkeypatch):
    """No convolution makes more scores than are allowed, but one a place at least."""
    sizes = []
    convolve = tf.nn.conv2d

    def watched(image, filters, *arguments):
        made = convolve(image, filters, *arguments)
        tf.py_function(lambda x: sizes.append(int(tf.size(x))), [made], [])
        return made

    monkeypatch.setattr(tf.nn, "conv2d", watched)
    patch_matching._replacer.cache_clear()
    try:
        made = rearrange(QUERY, KEYS, PHOTOGRAPH, 1, table_cells=100)
    finally:
        patch_matching._replacer.cache_clear()
    assert np.isfinite(made).all()
    # 6 x 3 places in the query and 4 x 7 patches of the photograph.
    assert max(sizes) == 90
    assert sum(sizes) == 2 * (18 + 18 * 28)
