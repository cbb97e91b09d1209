"""Patch matching: new images out of the photograph's own patches, without training.

Generative patch nearest neighbours (Granot et al., Drop the GAN: In defense of
patches nearest neighbors as single image generative models, CVPR 2022): every patch
of a query is replaced by the patch of the photograph that scores best for it,

    score(q, k) = d(q, k) / (alpha + min over all q' of d(q', k)),

and where replacements overlap, they are averaged. d is the mean squared difference
of two patches. The divisor is large for a patch k that resembles no patch of the
query, so the less alpha is, the more the result uses all of the photograph.

Core operations only, for sizes known or not known when a graph is traced.
"""

import functools
from typing import Any, Callable, Optional

import tensorflow as tf

# Side of a patch, and alpha for pixels in [-1, 1]: the paper's.
PATCH_SIZE = 7
ALPHA = 0.005
# Scores that are held at a time: groups of the photograph's patches go through the
# search one after the other, each against all of the query, which changes no score.
_TABLE_CELLS = 2**24
# Larger groups are no faster: they leave the processor's cache.
_MOST_IN_GROUP = 256


def rearrange(
    query: tf.Tensor,
    keys: tf.Tensor,
    photograph: tf.Tensor,
    iterations: int,
    wrap: bool = False,
    stride: int = 1,
    table_cells: int = _TABLE_CELLS,
) -> tf.Tensor:
    """Makes images that look like the query from the photograph's patches.

    Memory is bounded by `table_cells` scores and some arrays of the query's size. The
    same arguments give the same bits wherever it is called, in a graph or not: it is
    a graph of its own, traced once. Of equal scores the first patch wins.

    Args:
        query: float32 [B, H, W, C] in about [-1, 1], with sides of at least 4; below
            `PATCH_SIZE` they are mirrored up to it. Row i of the result depends on
            row i alone.
        keys: What the first iteration compares with, [1, h, w, C]: the photograph as
            blurred as the query. Sides of at least `PATCH_SIZE`.
        photograph: What the result is made of, and what further iterations compare
            with, as large as `keys`.
        iterations: How often all patches are replaced, at least 1.
        wrap: Whether the result's borders continue each other (a seamless tile).
        stride: Pixels from one of the query's patches to the next, down and across,
            at most 4; where they do not end at its borders, it is mirrored there. Of
            the photograph all patches are looked at, so only time is saved.
        table_cells: Scores that are held at a time.

    Returns:
        float32 [B, H, W, C], within the photograph's range.
    """
    channels = query.shape[3]
    replace = _replacer(channels, wrap, stride, table_cells)

    def row(image):
        return replace(image, keys[0], photograph[0], iterations)

    images = tf.map_fn(row, query, parallel_iterations=1)
    return tf.ensure_shape(images, query.shape)


@functools.cache
def _replacer(channels: int, wrap: bool, stride: int, table_cells: int) -> Callable:
    """`rearrange` for one image, as a graph of images of any size."""
    image = tf.TensorSpec([None, None, channels], tf.float32)

    @tf.function(
        input_signature=[image, image, image, tf.TensorSpec([], tf.int32)],
        autograph=False,
    )
    def replace(query, keys, photograph, iterations):
        height, width = tf.unstack(tf.shape(query)[:2])
        more = [missing(side, wrap, stride) for side in (height, width)]
        query = tf.pad(query, [[0, more[0]], [0, more[1]], [0, 0]], "SYMMETRIC")
        filters = tf.stack([_filters(keys), _filters(photograph)])

        def iterate(index, query):
            keys = filters[tf.minimum(index, 1)]
            corners = _search(query, keys, wrap, stride, table_cells)
            # Numbers of patches, row by row, as numbers of the pixels in their corners.
            columns = tf.shape(photograph)[1]
            across = columns - PATCH_SIZE + 1
            corners = corners // across * columns + corners % across
            if stride > 1:
                corners = spread(corners, stride, nowhere(photograph))
            places = tf.shape(query)[:2] - (0 if wrap else PATCH_SIZE - 1)
            corners = corners[: places[0], : places[1]]
            return index + 1, overlay(corners, photograph, wrap)

        _, query = tf.while_loop(
            lambda index, _: index < iterations,
            iterate,
            (0, query),
            (tf.TensorShape([]), tf.TensorShape([None, None, channels])),
            parallel_iterations=1,
        )
        return query[:height, :width]

    return replace


def missing(side: tf.Tensor, wrap: bool, stride: int) -> tf.Tensor:
    """Pixels to add to a side, so that the last patch ends where the image does."""
    least = tf.maximum(side, PATCH_SIZE)
    beyond = 0 if wrap else (PATCH_SIZE - least) % stride
    return least + beyond - side


def _filters(image: tf.Tensor) -> tf.Tensor:
    """All patches of an image as the filters of a convolution, [7, 7, C, K]."""
    side = [1, PATCH_SIZE, PATCH_SIZE, 1]
    found = tf.image.extract_patches(image[tf.newaxis], side, [1] * 4, [1] * 4, "VALID")
    length = PATCH_SIZE**2 * image.shape[2]
    filters = tf.transpose(tf.reshape(found, [-1, length]))
    return tf.reshape(filters, [PATCH_SIZE, PATCH_SIZE, image.shape[2], -1])


def _search(
    query: tf.Tensor, filters: tf.Tensor, wrap: bool, stride: int, table_cells: int
) -> tf.Tensor:
    """The best patch for each of the query's.

    Args:
        query: [H, W, C].
        filters: Of `_filters`, [7, 7, C, K].
        wrap: Whether the query's patches go on beyond its borders.
        stride: Pixels between the query's patches.
        table_cells: Scores that are held at a time.

    Returns:
        int32 [N, M], for each place of the query its patch's number, below K.
    """
    if wrap:
        query = continued(query)
    # |q - k|^2 = |q|^2 - 2 q k + |k|^2, the products by convolution.
    values = PATCH_SIZE**2 * query.shape[2]
    ones = tf.ones([PATCH_SIZE, PATCH_SIZE, query.shape[2], 1])
    query = query[tf.newaxis]
    squares = tf.nn.conv2d(query**2, ones, stride, "VALID")
    key_squares = tf.reduce_sum(filters**2, axis=[0, 1, 2])
    total = tf.shape(filters)[3]
    group = tf.clip_by_value(table_cells // tf.size(squares), 1, _MOST_IN_GROUP)

    def look(start, best, where):
        some = slice(start, start + group)
        products = tf.nn.conv2d(query, -2 * filters[..., some], stride, "VALID")
        distances = (products + key_squares[some] + squares) / values
        scores = distances / (ALPHA + tf.reduce_min(distances, axis=[0, 1, 2]))
        index = tf.argmin(scores, axis=-1, output_type=tf.int32)
        least = tf.reduce_min(scores, axis=-1)
        found = tf.where(least < best, start + index, where)
        return start + group, tf.minimum(best, least), found

    shape = tf.shape(squares)[:3]
    _, _, where = tf.while_loop(
        lambda start, *_: start < total,
        look,
        (0, tf.fill(shape, float("inf")), tf.zeros(shape, tf.int32)),
        parallel_iterations=1,
    )
    return where[0]


def spread(values: tf.Tensor, stride: int, between: Any) -> tf.Tensor:
    """Moves values [N, M] `stride` apart, with `between` between them."""
    values = values[:, tf.newaxis, :, tf.newaxis]
    gaps = [[0, 0], [0, stride - 1], [0, 0], [0, stride - 1]]
    values = tf.pad(values, gaps, constant_values=between)
    rows, columns = tf.shape(values)[0], tf.shape(values)[2]
    return tf.reshape(values, [rows * stride, columns * stride])


def continued(image: tf.Tensor) -> tf.Tensor:
    """A tile [H, W, C] with the rows and columns that its last patches go on to."""
    over = PATCH_SIZE - 1
    image = tf.concat([image, image[:over]], axis=0)
    return tf.concat([image, image[:, :over]], axis=1)


def nowhere(photograph: tf.Tensor) -> tf.Tensor:
    """So negative that it is no pixel's number, whatever is added."""
    return -tf.size(photograph)


def _surrounded(values: tf.Tensor, wrap: bool, outside: Any) -> tf.Tensor:
    """Values [N, M] with what comes before the first and after the last of them."""
    over = PATCH_SIZE - 1
    if not wrap:
        return tf.pad(values, [[over, over]] * 2, constant_values=outside)
    values = tf.concat([values[-over:], values], axis=0)
    return tf.concat([values[:, -over:], values], axis=1)


def overlay(
    corners: tf.Tensor,
    photograph: tf.Tensor,
    wrap: bool,
    weights: Optional[tuple[tf.Tensor, tf.Tensor]] = None,
) -> tf.Tensor:
    """Lays patches over each other and averages them, perhaps by weights.

    Args:
        corners: int32 [N, M], of the patch that lies at each place, the number of the
            pixel in its upper left corner.
        photograph: Where the patches are from, [h, w, C].
        wrap: Whether patches go on beyond the borders.
        weights: Of each patch, float32 [N, M], and of its pixels along a side, float32
            [7], which are multiplied; None for equal ones.

    Returns:
        [N + 6, M + 6, C], or with `wrap` [N, M, C].
    """
    over = PATCH_SIZE - 1
    corners = _surrounded(corners, wrap, nowhere(photograph))
    if weights is not None:
        trust, window = _surrounded(weights[0], wrap, 0.0), weights[1]
    channels, columns = photograph.shape[2], tf.shape(photograph)[1]
    # A fourth channel counts. Pixel 0 is nowhere: zeros, not counted.
    pixels = tf.reshape(photograph, [-1, channels])
    pixels = tf.pad(pixels, [[0, 0], [0, 1]], constant_values=1.0)
    pixels = tf.pad(pixels, [[1, 0], [0, 0]])
    height = tf.shape(corners)[0] - over
    total: tf.Tensor = 0.0
    for row in range(PATCH_SIZE):
        # Patches that show their row number `row` here began so many rows above.
        begun = corners[tf.newaxis, over - row : over - row + height, :, tf.newaxis]
        seen = [1, 1, PATCH_SIZE, 1]
        covering = tf.image.extract_patches(begun, seen, [1] * 4, [1] * 4, "VALID")[0]
        inside = row * columns + tf.range(over, -1, -1)
        numbers = tf.maximum(covering + inside + 1, 0)
        shown = tf.gather(pixels, numbers)
        if weights is not None:
            begun = trust[tf.newaxis, over - row : over - row + height, :, tf.newaxis]
            votes = tf.image.extract_patches(begun, seen, [1] * 4, [1] * 4, "VALID")[0]
            # The leftmost of them shows its last column.
            shown *= (votes * window[row] * window[::-1])[..., tf.newaxis]
        total += tf.reduce_sum(shown, axis=2)
    return total[..., :channels] / total[..., channels:]
