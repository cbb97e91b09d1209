"""Patch matching whose patches vote by how well they fit, to the full size.

The method of `patch_matching` with three changes:

- Where replacements overlap, each counts by its fit: exp(-d / 2t) for the distance d
  to what it replaces, with t a quantile of all distances, times a Gaussian about the
  middle of the patch. A mean of patches that do not fit is a smear.
- Distances are taken between the principal components of patches, which keep nearly all
  of their variance in a sixth of the numbers.
- Large images are searched in two steps: all patches at half the size, by the same
  search, and then those near each match and near its neighbours' matches (the idea of
  Barnes et al., PatchMatch, SIGGRAPH 2009). Time and memory grow with the pixels.

Core operations only, for sizes known or not known when a graph is traced.
"""

import functools
import math
import operator
from typing import Callable, NamedTuple, Union

import tensorflow as tf

from singan_tf.model import portable
from singan_tf.model.patch_matching import (
    PATCH_SIZE,
    continued,
    missing,
    overlay,
)

# Most patches of the photograph that are all looked at: above, half the size is first.
_MOST_PATCHES = 2500
# As in `patch_matching`, but the less of it the more of all of the photograph is in
# the result: averages of patches that do not fit no longer set a limit.
ALPHA = 0.002
_COMPONENTS = 24
# Patches whose principal components stand for all.
_SAMPLED = 4000
# The matches of a place and of those beside it.
_BESIDE = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
# Where a match's better is looked for.
_AROUND = tuple((down, across) for down in (-1, 0, 1) for across in (-1, 0, 1))
# Of the distances, which one is the unit of trust if nothing else is said; and the
# least such unit, a difference that nobody sees, where most patches fit exactly.
TRUST = 0.6
_LEAST_TRUST_UNIT = 1e-4
# Less trust than exp of this is none, and none would divide by zero.
_LEAST_TRUST = -20.0
_WINDOW_STDDEV = 1.5
# Scores that are held at a time where all patches are looked at.
_TABLE_CELLS = 2**20
# Rows of a query that are compared with some of the keys at a time.
_ROWS_AT_ONCE = 4


class _Matches(NamedTuple):
    """What fits best at each place of a query.

    Attributes:
        rows: Of the upper left corners of the photograph's patches, int32 [N, M].
        columns: Likewise.
        distances: Mean squared differences, float32 [N, M].
    """

    rows: tf.Tensor
    columns: tf.Tensor
    distances: tf.Tensor


def rearrange(
    query: tf.Tensor,
    keys: tf.Tensor,
    photograph: tf.Tensor,
    iterations: int,
    wrap: bool = False,
    stride: int = 1,
    trust: Union[float, tf.Tensor] = TRUST,
    alpha: float = ALPHA,
) -> tf.Tensor:
    """Makes images that look like the query from the photograph's patches.

    Args:
        query: float32 [B, H, W, C] in about [-1, 1], with sides of at least 4; below
            `PATCH_SIZE` they are mirrored up to it. Row i of the result depends on
            row i alone.
        keys: What the first iteration compares with, [1, h, w, C], h and w known: the
            photograph as blurred as the query. Sides of at least `PATCH_SIZE`.
        photograph: What the result is made of, and what further iterations compare
            with, as large as `keys`.
        iterations: How often all patches are replaced, at least 1.
        wrap: Whether the result's borders continue each other (a seamless tile).
        stride: Pixels from one of the query's patches to the next, down and across,
            at most 4; where they do not end at its borders, it is mirrored there.
        trust: The share of patches whose distance is at most the unit of trust, 0 to
            1: the more, the softer; a scalar.
        alpha: See `patch_matching`; where it is infinite, the nearest patch scores
            best, whether or not others are left out.

    Returns:
        float32 [B, H, W, C], within the photograph's range.
    """
    halvings = _halvings(*keys.shape[1:3])
    replace = portable.inlined(
        _replacer(query.shape[3], wrap, stride, halvings, iterations, alpha)
    )

    def row(image):
        seen = (portable.known(operator.itemgetter(0), x) for x in (keys, photograph))
        return replace(image, *seen, trust)

    images = portable.by_row(row, query)
    return tf.ensure_shape(images, query.shape)


def _halvings(height: int, width: int) -> int:
    """How often a photograph is halved until all of its patches are looked at."""
    over = PATCH_SIZE - 1
    few = (height - over) * (width - over) <= _MOST_PATCHES
    if few or min(height, width) // 2 < 2 * PATCH_SIZE:
        return 0
    return 1 + _halvings(height // 2, width // 2)


@functools.cache
def _replacer(
    channels: int,
    wrap: bool,
    stride: int,
    halvings: int,
    iterations: int,
    alpha: float,
) -> Callable:
    """`rearrange` for one image of any size, by a photograph of many."""
    image = tf.TensorSpec([None, None, channels], tf.float32)

    @tf.function(
        input_signature=[image, image, image, tf.TensorSpec([], tf.float32)],
        autograph=False,
        experimental_attributes={"_noinline": True},
    )
    def replace(query, keys, photograph, trust):
        sides = tf.unstack(tf.shape(query)[:2])
        more = [missing(side, wrap, stride) for side in sides]
        query = tf.pad(query, [[0, more[0]], [0, more[1]], [0, 0]], "SYMMETRIC")
        seen = portable.known(tf.stack, [keys, photograph])

        def iterate(index, query):
            known = portable.known(lambda: seen[tf.minimum(index, 1)])
            found = _search(query, known, wrap, stride, halvings, alpha)
            return (_vote(found, query, photograph, wrap, stride, trust),)

        shapes = (tf.TensorShape([None, None, channels]),)
        (query,) = portable.loop(iterations, 1, iterate, (query,), shapes)
        return query[: sides[0], : sides[1]]

    return replace


def _search(
    query: tf.Tensor,
    known: tf.Tensor,
    wrap: bool,
    stride: int,
    halvings: int,
    alpha: float,
) -> _Matches:
    """The best patch of `known` for each of the query's.

    Args:
        query: [H, W, C].
        known: [h, w, C].
        wrap: Whether the query's patches go on beyond its borders.
        stride: Pixels between the query's patches.
        halvings: How often both are halved before all patches are looked at.
        alpha: See `rearrange`.
    """
    basis = portable.known(_principal_components, known)
    found = _components(query, basis, wrap, stride)
    keys = _components(known, basis, False, 1)
    if not halvings:
        return _among_all(found, keys, alpha)
    known = portable.known(_halved, known)
    coarse = _search(_halved(query), known, wrap, 1, halvings - 1, alpha)
    leads = _brought_up(coarse, tf.shape(found)[:2], stride)
    best = _near(found, keys, *leads, alpha)
    down, across = zip(*_AROUND)
    around = best.rows[..., tf.newaxis] + down, best.columns[..., tf.newaxis] + across
    return _near(found, keys, *around, alpha)


def _halved(image: tf.Tensor) -> tf.Tensor:
    """An image at half its size, but not below a patch's: there its borders go on."""
    image = tf.nn.avg_pool2d(image[tf.newaxis], 2, 2, "VALID")[0]
    for axis in (0, 1):
        side = tf.shape(image)[axis]
        there = tf.minimum(tf.range(tf.maximum(side, PATCH_SIZE)), side - 1)
        image = tf.gather(image, there, axis=axis)
    return image


def _principal_components(image: tf.Tensor) -> tf.Tensor:
    """The directions in which patches differ most, as filters [7, 7, C, components]."""
    channels = image.shape[2]
    pixels = tf.cast(tf.reduce_prod(tf.shape(image)[:2]), tf.float32)
    apart = tf.cast(tf.sqrt(pixels / _SAMPLED), tf.int32) + 1
    rows, columns = (
        tf.range(0, tf.shape(image)[axis] - PATCH_SIZE + 1, apart)[:, tf.newaxis]
        + tf.range(PATCH_SIZE)
        for axis in (0, 1)
    )
    found = tf.gather(tf.gather(image, rows), columns, axis=2)
    length = PATCH_SIZE**2 * channels
    found = tf.reshape(tf.transpose(found, [0, 2, 1, 3, 4]), [-1, length])
    found -= tf.reduce_mean(found, axis=0)
    # In ascending order.
    _, vectors = tf.linalg.eigh(tf.matmul(found, found, transpose_a=True))
    basis = vectors[:, -min(_COMPONENTS, length) :]
    return tf.reshape(basis, [PATCH_SIZE, PATCH_SIZE, channels, -1])


def _components(
    image: tf.Tensor, basis: tf.Tensor, wrap: bool, stride: int
) -> tf.Tensor:
    """An image's patches in components, [N, M, components].

    Scaled so that squared distances are the patches' mean squared differences.
    """
    if wrap:
        image = continued(image)
    values = PATCH_SIZE**2 * image.shape[2]
    return tf.nn.conv2d(image[tf.newaxis], basis, stride, "VALID")[0] / values**0.5


def _among_all(query: tf.Tensor, keys: tf.Tensor, alpha: float) -> _Matches:
    """The best of all keys [n, m, D] for each of the query's places [N, M, D]."""
    places, size = tf.shape(query)[:2], query.shape[2]
    columns = tf.shape(keys)[1]
    query, keys = tf.reshape(query, [-1, size]), tf.reshape(keys, [-1, size])
    squares = tf.reduce_sum(query**2, axis=1, keepdims=True)
    key_squares = tf.reduce_sum(keys**2, axis=1)
    total, count = portable.length(keys, 0), portable.length(query, 0)
    group = total
    if not portable.tracing():
        group = tf.clip_by_value(_TABLE_CELLS // count, 1, total)

    def look(start, best, where, fit):
        some = keys[start : start + group]
        products = tf.matmul(query, some, transpose_b=True)
        distances = squares - 2 * products + key_squares[start : start + group]
        distances = tf.maximum(distances, 0.0)
        scores = _scores(distances, tf.reduce_min(distances, axis=0), alpha)
        index = tf.argmin(scores, axis=1, output_type=tf.int32)
        least = tf.reduce_min(scores, axis=1)
        better = least < best
        here = tf.gather(distances, index, batch_dims=1)
        return (
            tf.where(better, least, best),
            tf.where(better, start + index, where),
            tf.where(better, here, fit),
        )

    infinite = tf.fill([count], float("inf"))
    state = infinite, tf.zeros([count], tf.int32), infinite
    shapes = (tf.TensorShape([None]),) * 3
    _, where, fit = portable.loop(total, group, look, state, shapes)
    where, fit = tf.reshape(where, places), tf.reshape(fit, places)
    return _Matches(where // columns, where % columns, fit)


def _scores(distances: tf.Tensor, least: tf.Tensor, alpha: float) -> tf.Tensor:
    """The less, the better: see `patch_matching` and `rearrange`."""
    return distances if math.isinf(alpha) else distances / (alpha + least)


def _brought_up(
    coarse: _Matches, places: tf.Tensor, stride: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Where the matches at half the size lead to.

    Args:
        coarse: One for each pixel that a patch begins at.
        places: How many there are here, down and across, int32 [2].
        stride: Pixels between them.

    Returns:
        Rows and columns of upper left corners, int32 [N, M, len(_BESIDE)], perhaps
        beyond the photograph.
    """
    begins = [tf.range(places[axis]) * stride for axis in (0, 1)]
    # Patches have the same size here and there, so they share their middles.
    halves = [(begin - PATCH_SIZE // 2) // 2 for begin in begins]
    row, column = (
        tf.clip_by_value(half[:, tf.newaxis] + shifts, 0, count - 1)
        for half, shifts, count in zip(
            halves, zip(*_BESIDE), tf.unstack(tf.shape(coarse.rows))
        )
    )
    row = row[:, tf.newaxis]
    there = row * tf.shape(coarse.rows)[1] + column

    def at(values):
        return tf.gather(tf.reshape(values, [-1]), there)

    # What lies beside the match lies beside the place.
    rows = 2 * at(coarse.rows) + begins[0][:, tf.newaxis, tf.newaxis] - 2 * row
    return rows, 2 * at(coarse.columns) + begins[1][:, tf.newaxis] - 2 * column


def _near(
    query: tf.Tensor,
    keys: tf.Tensor,
    rows: tf.Tensor,
    columns: tf.Tensor,
    alpha: float,
) -> _Matches:
    """The best of some of the keys.

    Args:
        query: [N, M, D].
        keys: [n, m, D].
        rows: Of those to look at, int32 [N, M, L], or beyond the border the nearest.
        columns: Likewise.
        alpha: See `rearrange`.
    """
    height, width = tf.unstack(tf.shape(keys)[:2])
    rows = tf.clip_by_value(rows, 0, height - 1)
    columns = tf.clip_by_value(columns, 0, width - 1)
    numbers = rows * width + columns
    table = tf.reshape(keys, [-1, keys.shape[2]])

    def some(here):
        values, candidates = here
        differences = tf.gather(table, candidates) - values[:, tf.newaxis]
        return tf.reduce_sum(differences**2, axis=2)

    looked_at = numbers.shape[2]
    if portable.tracing():
        all_places = tf.reshape(query, [-1, query.shape[2]])
        distances = some((all_places, tf.reshape(numbers, [-1, looked_at])))
        distances = tf.reshape(distances, tf.shape(numbers))
    else:
        distances = tf.map_fn(
            some,
            (query, numbers),
            fn_output_signature=tf.TensorSpec([None, looked_at], tf.float32),
            parallel_iterations=_ROWS_AT_ONCE,
        )
    # Of a key that nothing looked at, infinite.
    least = tf.math.unsorted_segment_min(distances, numbers, height * width)
    scores = _scores(distances, tf.gather(least, numbers), alpha)
    best = tf.argmin(scores, axis=2, output_type=tf.int32)
    return _Matches(
        *(tf.gather(x, best, batch_dims=2) for x in (rows, columns, distances))
    )


def _vote(
    found: _Matches,
    query: tf.Tensor,
    photograph: tf.Tensor,
    wrap: bool,
    stride: int,
    trust: tf.Tensor,
) -> tf.Tensor:
    """Lays the matches over each other, each by how well it fits; [H, W, C]."""
    ordered = tf.sort(tf.reshape(found.distances, [-1]))
    index = tf.cast(tf.size(ordered) - 1, tf.float32) * trust
    unit = tf.maximum(ordered[tf.cast(index, tf.int32)], _LEAST_TRUST_UNIT)
    votes = tf.exp(tf.maximum(-found.distances / (2 * unit), _LEAST_TRUST))
    corners = found.rows * tf.shape(photograph)[1] + found.columns
    window = tf.exp(
        -((tf.range(PATCH_SIZE, dtype=tf.float32) - (PATCH_SIZE - 1) / 2) ** 2)
        / (2 * _WINDOW_STDDEV**2)
    )
    size = tf.unstack(tf.shape(query)[:2])
    return overlay(corners, photograph, size, wrap, stride, (votes, window))
