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
import math
from collections.abc import Sequence
from typing import Callable, Optional, Union

import tensorflow as tf

from singan_tf.model import portable

# Side of a patch, and alpha for pixels in [-1, 1]: the paper's.
PATCH_SIZE = 7
ALPHA = 0.005
# Scores that are held at a time: groups of the photograph's patches go through the
# search one after the other, each against all of the query, which changes no score.
_TABLE_CELLS = 2**24
# Larger groups are no faster: they leave the processor's cache.
_MOST_IN_GROUP = 256

# A photograph [1, h, w, C], or several whose patches count alike.
Photographs = Union[tf.Tensor, Sequence[tf.Tensor]]


def rearrange(
    query: tf.Tensor,
    keys: Photographs,
    photograph: Photographs,
    iterations: int,
    wrap: bool = False,
    stride: int = 1,
    table_cells: int = _TABLE_CELLS,
    alpha: float = ALPHA,
    nearest: Sequence[tf.Tensor] = (),
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
            blurred as the query. Sides of at least `PATCH_SIZE`. A list of several,
            of any sizes, is searched as one.
        photograph: What the result is made of, and what further iterations compare
            with, as large as `keys`; as many.
        iterations: How often all patches are replaced, at least 1.
        wrap: Whether the result's borders continue each other (a seamless tile).
        stride: Pixels from one of the query's patches to the next, down and across,
            at most 4; where they do not end at its borders, it is mirrored there. Of
            the photograph all patches are looked at, so only time is saved.
        table_cells: Scores that are held at a time.
        alpha: See above; where it is infinite, the nearest patch scores best, whether
            or not others are left out.
        nearest: By `patch_places.tables`, one table: the only patches that are looked
            at; none for all.

    Returns:
        float32 [B, H, W, C], within the photograph's range.
    """
    channels = query.shape[3]
    known, seen = (portable.known(each_photograph, x) for x in (keys, photograph))
    some = portable.known(lambda: [allowed(each) for each in nearest])
    replace = portable.inlined(
        _replacer(channels, wrap, stride, table_cells, alpha, len(seen), len(some))
    )

    def row(image):
        return replace(image, known, seen, iterations, some)

    images = portable.by_row(row, query)
    return tf.ensure_shape(images, query.shape)


def each_photograph(photographs: Photographs) -> list[tf.Tensor]:
    """Each of the photographs, [h, w, C]."""
    if not isinstance(photographs, (list, tuple)):
        photographs = [photographs]
    return [each[0] for each in photographs]


@functools.cache
def _replacer(
    channels: int,
    wrap: bool,
    stride: int,
    table_cells: int,
    alpha: float,
    photographs: int,
    tables: int,
) -> Callable:
    """`rearrange` for one image, as a graph of images of any size."""
    image = tf.TensorSpec([None, None, channels], tf.float32)
    several = [image] * photographs
    numbers = [tf.TensorSpec([None], tf.int32)] * tables

    @tf.function(
        input_signature=[image, several, several, tf.TensorSpec([], tf.int32), numbers],
        autograph=False,
    )
    def replace(query, keys, photographs, iterations, some):
        height, width = tf.unstack(tf.shape(query)[:2])
        more = [missing(side, wrap, stride) for side in (height, width)]
        query = tf.pad(query, [[0, more[0]], [0, more[1]], [0, 0]], "SYMMETRIC")
        filters = tf.stack([_filters(keys), _filters(photographs)])
        seen, tops = one_below_the_other(photographs)
        corners = _corners(photographs, tops, tf.shape(seen)[1])
        if some:
            filters = tf.gather(filters, some[0], axis=4)
            corners = tf.gather(corners, some[0])

        def iterate(index, query):
            keys = filters[tf.minimum(index, 1)]
            found = _search(query, keys, wrap, stride, table_cells, alpha)
            size = tf.unstack(tf.shape(query)[:2])
            return (overlay(tf.gather(corners, found), seen, size, wrap, stride),)

        shapes = (tf.TensorShape([None, None, channels]),)
        (query,) = portable.loop(iterations, 1, iterate, (query,), shapes)
        return query[:height, :width]

    return replace


def allowed(table: tf.Tensor) -> tf.Tensor:
    """The numbers of the patches that a table leads to, int32 [N], in order."""
    own = tf.range(tf.size(table, tf.int64))
    return tf.cast(tf.where(tf.equal(table, own))[:, 0], tf.int32)


def missing(side: tf.Tensor, wrap: bool, stride: int) -> tf.Tensor:
    """Pixels to add to a side, so that the last patch ends where the image does."""
    least = tf.maximum(side, PATCH_SIZE)
    beyond = 0 if wrap else (PATCH_SIZE - least) % stride
    return least + beyond - side


def one_below_the_other(images: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Puts images into one, as wide as the widest, zeros beside the others.

    Args:
        images: Each [h, w, C].

    Returns:
        [H, W, C], and the row in which each begins, int32 [len(images)].
    """
    heights, widths = tf.unstack(_sizes(images), axis=1)
    beside = tf.unstack(tf.reduce_max(widths) - widths, len(images))
    padded = [
        tf.pad(image, [[0, 0], [0, more], [0, 0]])
        for image, more in zip(images, beside)
    ]
    return tf.concat(padded, axis=0), tf.cumsum(heights, exclusive=True)


def _sizes(images: Sequence[tf.Tensor]) -> tf.Tensor:
    """(height, width) of images [h, w, C], int32 [len(images), 2]."""
    return tf.stack([tf.shape(image)[:2] for image in images])


def _corners(
    photographs: Sequence[tf.Tensor], tops: tf.Tensor, columns: tf.Tensor
) -> tf.Tensor:
    """Where all patches begin, int32 [K], in the order of `_filters`.

    Args:
        photographs: Each [h, w, C].
        tops: As `one_below_the_other` gives them.
        columns: The width of what it gives.

    Returns:
        The number of the pixel there in a patch's upper left corner.
    """
    places = tf.unstack(_sizes(photographs) - PATCH_SIZE + 1, len(photographs))
    return tf.concat(
        [
            tf.reshape(
                (top + tf.range(down))[:, tf.newaxis] * columns + tf.range(across), [-1]
            )
            for top, (down, across) in zip(
                tf.unstack(tops, len(photographs)), map(tf.unstack, places)
            )
        ],
        axis=0,
    )


def _filters(images: Sequence[tf.Tensor]) -> tf.Tensor:
    """All patches of images as the filters of a convolution, [7, 7, C, K]."""
    side = [1, PATCH_SIZE, PATCH_SIZE, 1]
    channels = images[0].shape[2]
    length = PATCH_SIZE**2 * channels
    found = tf.concat(
        [
            tf.reshape(
                tf.image.extract_patches(
                    image[tf.newaxis], side, [1] * 4, [1] * 4, "VALID"
                ),
                [-1, length],
            )
            for image in images
        ],
        axis=0,
    )
    filters = tf.transpose(found)
    return tf.reshape(filters, [PATCH_SIZE, PATCH_SIZE, channels, -1])


def _search(
    query: tf.Tensor,
    filters: tf.Tensor,
    wrap: bool,
    stride: int,
    table_cells: int,
    alpha: float,
) -> tf.Tensor:
    """The best patch for each of the query's.

    Args:
        query: [H, W, C].
        filters: Of `_filters`, [7, 7, C, K].
        wrap: Whether the query's patches go on beyond its borders.
        stride: Pixels between the query's patches.
        table_cells: Scores that are held at a time.
        alpha: See `rearrange`.

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
    total, group = portable.length(filters, 3), _MOST_IN_GROUP
    if not portable.tracing():
        group = tf.clip_by_value(table_cells // tf.size(squares), 1, group)

    def look(start, best, where):
        some = slice(start, start + group)
        products = tf.nn.conv2d(query, -2 * filters[..., some], stride, "VALID")
        distances = (products + key_squares[some] + squares) / values
        scores = distances
        if not math.isinf(alpha):
            scores /= alpha + tf.reduce_min(distances, axis=[0, 1, 2])
        index = tf.argmin(scores, axis=-1, output_type=tf.int32)
        least = tf.reduce_min(scores, axis=-1)
        found = tf.where(least < best, start + index, where)
        return tf.minimum(best, least), found

    shape = tf.shape(squares)[:3]
    state = tf.fill(shape, float("inf")), tf.zeros(shape, tf.int32)
    shapes = (tf.TensorShape([1, None, None]),) * 2
    _, where = portable.loop(total, group, look, state, shapes)
    return where[0]


def continued(image: tf.Tensor) -> tf.Tensor:
    """A tile [H, W, C] with the rows and columns that its last patches go on to."""
    over = PATCH_SIZE - 1
    image = tf.concat([image, image[:over]], axis=0)
    return tf.concat([image, image[:, :over]], axis=1)


def overlay(
    corners: tf.Tensor,
    photograph: tf.Tensor,
    size: tuple[tf.Tensor, tf.Tensor],
    wrap: bool,
    stride: int,
    weights: Optional[tuple[tf.Tensor, tf.Tensor]] = None,
) -> tf.Tensor:
    """Lays patches over each other and averages them, perhaps by weights.

    Args:
        corners: int32 [N, M], of the patch that lies at each place, the number of the
            pixel in its upper left corner.
        photograph: Where the patches are from, [h, w, C].
        size: Height and width of the result, which the patches cover.
        wrap: Whether patches go on beyond the borders.
        stride: Pixels from one place to the next, down and across.
        weights: Of each patch, float32 [N, M], and of its pixels along a side, float32
            [7], which are multiplied; None for equal ones.

    Returns:
        [*size, C].
    """
    votes, window = weights or (tf.ones(tf.shape(corners)), tf.ones([PATCH_SIZE]))
    channels, columns = photograph.shape[2], tf.shape(photograph)[1]
    # A further channel counts.
    pixels = tf.reshape(photograph, [-1, channels])
    pixels = tf.pad(pixels, [[0, 0], [0, 1]], constant_values=1.0)
    # A patch begins in a block of stride x stride pixels and goes on in those after it.
    down, across = tf.unstack(tf.shape(corners))
    blocks = -(-PATCH_SIZE // stride)
    along = (across + blocks - 1) * stride

    def add(row, total):
        """Adds row number `row` of all patches."""
        numbers = (corners + row * columns)[..., tf.newaxis] + tf.range(PATCH_SIZE)
        counts = (votes * window[row])[..., tf.newaxis] * window
        shown = tf.gather(pixels, numbers) * counts[..., tf.newaxis]
        line = _side_by_side(shown, stride, blocks)
        above, within = row // stride, row % stride
        around = [[above, blocks - 1 - above], [within, stride - 1 - within]]
        line = tf.pad(line[:, tf.newaxis], [*around, [0, 0], [0, 0]])
        return (total + line,)

    # A loop and not seven copies of its body, which take seconds to trace.
    start = tf.zeros([down + blocks - 1, stride, along, channels + 1])
    shapes = (tf.TensorShape([None, None, None, channels + 1]),)
    (total,) = portable.loop(PATCH_SIZE, 1, add, (start,), shapes)
    total = tf.reshape(total, [-1, along, channels + 1])
    for axis in (0, 1):
        total = _within(total, axis, size[axis], wrap)
    return total[..., :channels] / total[..., channels:]


def _side_by_side(shown: tf.Tensor, stride: int, blocks: int) -> tf.Tensor:
    """Adds up one row of each patch, [N, M, 7, D], `stride` apart.

    Returns:
        [N, (M + blocks - 1) * stride, D].
    """
    down, across, channels = tf.shape(shown)[0], tf.shape(shown)[1], shown.shape[3]
    missed = blocks * stride - PATCH_SIZE
    shown = tf.pad(shown, [[0, 0], [0, 0], [0, missed], [0, 0]])
    shown = tf.reshape(shown, [down, across, blocks, stride, channels])
    moved = [
        tf.pad(part, [[0, 0], [block, blocks - 1 - block], [0, 0], [0, 0]])
        for block, part in enumerate(tf.unstack(shown, axis=2))
    ]
    return tf.reshape(tf.add_n(moved), [down, -1, channels])


def _within(total: tf.Tensor, axis: int, side: tf.Tensor, wrap: bool) -> tf.Tensor:
    """Cuts sums to a side; what goes beyond it is added at the beginning, or lost."""
    inside, beyond = tf.split(total, [side, tf.shape(total)[axis] - side], axis)
    if not wrap:
        return inside
    # No patch goes further beyond, but the blocks may.
    count = tf.minimum(tf.shape(beyond)[axis], PATCH_SIZE - 1)
    beyond = tf.gather(beyond, tf.range(count), axis=axis)
    after = [[0, 0]] * 3
    after[axis] = [0, side - count]
    return inside + tf.pad(beyond, after)
