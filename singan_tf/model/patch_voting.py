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
from collections.abc import Sequence
from typing import Callable, NamedTuple, Optional, Union

import tensorflow as tf

from singan_tf.model import portable
from singan_tf.model.patch_matching import (
    PATCH_SIZE,
    Photographs,
    allowed,
    continued,
    each_photograph,
    missing,
    one_below_the_other,
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
        photographs: Numbers of the photographs that have them, int32 [N, M].
        rows: Of the upper left corners of patches there, int32 [N, M].
        columns: Likewise.
        distances: Mean squared differences, float32 [N, M].
    """

    photographs: tf.Tensor
    rows: tf.Tensor
    columns: tf.Tensor
    distances: tf.Tensor


class _Keys(NamedTuple):
    """The patches of photographs, one photograph after the other.

    Attributes:
        values: In components, [K, D].
        starts: Number of the first patch of each photograph, int32 [photographs].
        heights: Places down of each, int32 [photographs].
        widths: Places across, likewise.
        nearest: By `patch_places.tables`, int64 [K]; None where all may be found.
    """

    values: tf.Tensor
    starts: tf.Tensor
    heights: tf.Tensor
    widths: tf.Tensor
    nearest: Optional[tf.Tensor] = None


def rearrange(
    query: tf.Tensor,
    keys: Photographs,
    photograph: Photographs,
    iterations: int,
    wrap: bool = False,
    stride: int = 1,
    trust: Union[float, tf.Tensor] = TRUST,
    alpha: float = ALPHA,
    nearest: Sequence[tf.Tensor] = (),
) -> tf.Tensor:
    """Makes images that look like the query from the photograph's patches.

    Args:
        query: float32 [B, H, W, C] in about [-1, 1], with sides of at least 4; below
            `PATCH_SIZE` they are mirrored up to it. Row i of the result depends on
            row i alone.
        keys: What the first iteration compares with, [1, h, w, C], h and w known: the
            photograph as blurred as the query. Sides of at least `PATCH_SIZE`. A list
            of several, of any sizes, is searched as one.
        photograph: What the result is made of, and what further iterations compare
            with, as large as `keys`; as many.
        iterations: How often all patches are replaced, at least 1.
        wrap: Whether the result's borders continue each other (a seamless tile).
        stride: Pixels from one of the query's patches to the next, down and across,
            at most 4; where they do not end at its borders, it is mirrored there.
        trust: The share of patches whose distance is at most the unit of trust, 0 to
            1: the more, the softer; a scalar.
        alpha: See `patch_matching`; where it is infinite, the nearest patch scores
            best, whether or not others are left out.
        nearest: By `patch_places.tables`, as many tables as `num_sizes` says: the
            only patches that are looked at; none for all.

    Returns:
        float32 [B, H, W, C], within the photograph's range.
    """
    known, seen = (portable.known(each_photograph, x) for x in (keys, photograph))
    halvings = _halvings(*(tuple(each.shape[:2]) for each in known))
    tables = portable.known(lambda: [tf.convert_to_tensor(each) for each in nearest])
    counts = len(seen), len(tables)
    replace = portable.inlined(
        _replacer(query.shape[3], wrap, stride, halvings, iterations, alpha, *counts)
    )

    def row(image):
        return replace(image, known, seen, trust, tables)

    images = portable.by_row(row, query)
    return tf.ensure_shape(images, query.shape)


def num_sizes(*sizes: tuple[int, int]) -> int:
    """At how many sizes patches of photographs of (height, width) are looked for."""
    return 1 + _halvings(*sizes)


def _halvings(*sizes: tuple[int, int]) -> int:
    """How often photographs are halved until all of their patches are looked at."""
    over = PATCH_SIZE - 1
    few = sum((h - over) * (w - over) for h, w in sizes) <= _MOST_PATCHES
    if few or min(map(min, sizes)) // 2 < 2 * PATCH_SIZE:
        return 0
    return 1 + _halvings(*((h // 2, w // 2) for h, w in sizes))


@functools.cache
def _replacer(
    channels: int,
    wrap: bool,
    stride: int,
    halvings: int,
    iterations: int,
    alpha: float,
    photographs: int,
    tables: int,
) -> Callable:
    """`rearrange` for one image of any size, by photographs of many."""
    image = tf.TensorSpec([None, None, channels], tf.float32)
    several = [image] * photographs
    trusted = tf.TensorSpec([], tf.float32)
    leads = [tf.TensorSpec([None], tf.int64)] * tables

    @tf.function(
        input_signature=[image, several, several, trusted, leads],
        autograph=False,
        experimental_attributes={"_noinline": True},
    )
    def replace(query, keys, photographs, trust, nearest):
        sides = tf.unstack(tf.shape(query)[:2])
        more = [missing(side, wrap, stride) for side in sides]
        query = tf.pad(query, [[0, more[0]], [0, more[1]], [0, 0]], "SYMMETRIC")
        seen = portable.known(
            lambda: [tf.stack(both) for both in zip(keys, photographs)]
        )

        def iterate(index, query):
            known = portable.known(
                lambda: [both[tf.minimum(index, 1)] for both in seen]
            )
            found = _search(query, known, wrap, stride, halvings, alpha, nearest)
            return (_vote(found, query, photographs, wrap, stride, trust),)

        shapes = (tf.TensorShape([None, None, channels]),)
        (query,) = portable.loop(iterations, 1, iterate, (query,), shapes)
        return query[: sides[0], : sides[1]]

    return replace


def _search(
    query: tf.Tensor,
    known: Sequence[tf.Tensor],
    wrap: bool,
    stride: int,
    halvings: int,
    alpha: float,
    nearest: Sequence[tf.Tensor] = (),
) -> _Matches:
    """The best patch of `known` for each of the query's.

    Args:
        query: [H, W, C].
        known: Each [h, w, C].
        wrap: Whether the query's patches go on beyond its borders.
        stride: Pixels between the query's patches.
        halvings: How often both are halved before all patches are looked at.
        alpha: See `rearrange`.
        nearest: Likewise, from this size on.
    """
    basis = portable.known(_principal_components, known)
    found = _components(query, basis, wrap, stride)
    keys = portable.known(
        lambda: _keys([_components(each, basis, False, 1) for each in known])
    )._replace(nearest=nearest[0] if nearest else None)
    if not halvings:
        return _among_all(found, keys, alpha)
    half = portable.known(lambda: [_halved(each) for each in known])
    coarse = _search(_halved(query), half, wrap, 1, halvings - 1, alpha, nearest[1:])
    leads = _brought_up(coarse, tf.shape(found)[:2], stride)
    best = _near(found, keys, *leads, alpha)
    down, across = zip(*_AROUND)
    rows, columns = best.rows[..., tf.newaxis], best.columns[..., tf.newaxis]
    there = tf.repeat(best.photographs[..., tf.newaxis], len(_AROUND), axis=2)
    return _near(found, keys, there, rows + down, columns + across, alpha)


def _halved(image: tf.Tensor) -> tf.Tensor:
    """An image at half its size, but not below a patch's: there its borders go on."""
    image = tf.nn.avg_pool2d(image[tf.newaxis], 2, 2, "VALID")[0]
    for axis in (0, 1):
        side = tf.shape(image)[axis]
        there = tf.minimum(tf.range(tf.maximum(side, PATCH_SIZE)), side - 1)
        image = tf.gather(image, there, axis=axis)
    return image


def _principal_components(images: Sequence[tf.Tensor]) -> tf.Tensor:
    """The directions in which patches differ most, as filters [7, 7, C, components]."""
    channels = images[0].shape[2]
    found = tf.concat([_sampled_patches(image) for image in images], axis=0)
    found -= tf.reduce_mean(found, axis=0)
    # In ascending order.
    _, vectors = tf.linalg.eigh(tf.matmul(found, found, transpose_a=True))
    basis = vectors[:, -min(_COMPONENTS, PATCH_SIZE**2 * channels) :]
    return tf.reshape(basis, [PATCH_SIZE, PATCH_SIZE, channels, -1])


def _sampled_patches(image: tf.Tensor) -> tf.Tensor:
    """Patches from all over an image, [N, values]."""
    pixels = tf.cast(tf.reduce_prod(tf.shape(image)[:2]), tf.float32)
    apart = tf.cast(tf.sqrt(pixels / _SAMPLED), tf.int32) + 1
    rows, columns = (
        tf.range(0, tf.shape(image)[axis] - PATCH_SIZE + 1, apart)[:, tf.newaxis]
        + tf.range(PATCH_SIZE)
        for axis in (0, 1)
    )
    found = tf.gather(tf.gather(image, rows), columns, axis=2)
    length = PATCH_SIZE**2 * image.shape[2]
    return tf.reshape(tf.transpose(found, [0, 2, 1, 3, 4]), [-1, length])


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


def _keys(components: Sequence[tf.Tensor]) -> _Keys:
    """The patches of photographs, whose components are each [n, m, D]."""
    values = [tf.reshape(each, [-1, each.shape[2]]) for each in components]
    sizes = tf.stack([tf.shape(each)[:2] for each in components])
    starts = tf.cumsum(tf.reduce_prod(sizes, axis=1), exclusive=True)
    return _Keys(tf.concat(values, axis=0), starts, sizes[:, 0], sizes[:, 1])


def _among_all(query: tf.Tensor, keys: _Keys, alpha: float) -> _Matches:
    """The best of all keys for each of the query's places [N, M, D]."""
    places, size = tf.shape(query)[:2], query.shape[2]
    query, table = tf.reshape(query, [-1, size]), keys.values
    some = None
    if keys.nearest is not None:
        some = portable.known(allowed, keys.nearest)
        table = portable.known(tf.gather, table, some)
    squares = tf.reduce_sum(query**2, axis=1, keepdims=True)
    key_squares = tf.reduce_sum(table**2, axis=1)
    total, count = portable.length(table, 0), portable.length(query, 0)
    group = total
    if not portable.tracing():
        group = tf.clip_by_value(_TABLE_CELLS // count, 1, total)

    def look(start, best, where, fit):
        some = table[start : start + group]
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
    if some is not None:
        where = tf.gather(some, where)
    # As `searchsorted`, which other runtimes lack.
    there = tf.reduce_sum(tf.cast(where[:, tf.newaxis] >= keys.starts, tf.int32), 1) - 1
    columns = tf.gather(keys.widths, there)
    where -= tf.gather(keys.starts, there)
    found = (there, where // columns, where % columns, fit)
    return _Matches(*(tf.reshape(each, places) for each in found))


def _scores(distances: tf.Tensor, least: tf.Tensor, alpha: float) -> tf.Tensor:
    """The less, the better: see `patch_matching` and `rearrange`."""
    return distances if math.isinf(alpha) else distances / (alpha + least)


def _brought_up(
    coarse: _Matches, places: tf.Tensor, stride: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Where the matches at half the size lead to.

    Args:
        coarse: One for each pixel that a patch begins at.
        places: How many there are here, down and across, int32 [2].
        stride: Pixels between them.

    Returns:
        Photographs, and rows and columns of upper left corners, perhaps beyond the
        photograph: int32 [N, M, len(_BESIDE)] each.
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
    columns = 2 * at(coarse.columns) + begins[1][:, tf.newaxis] - 2 * column
    return at(coarse.photographs), rows, columns


def _near(
    query: tf.Tensor,
    keys: _Keys,
    photographs: tf.Tensor,
    rows: tf.Tensor,
    columns: tf.Tensor,
    alpha: float,
) -> _Matches:
    """The best of some of the keys.

    Args:
        query: [N, M, D].
        keys: All of them.
        photographs: Of those to look at, int32 [N, M, L].
        rows: Likewise, or beyond the border the nearest.
        columns: Likewise.
        alpha: See `rearrange`.
    """
    heights, widths, starts = (
        tf.gather(each, photographs)
        for each in (keys.heights, keys.widths, keys.starts)
    )
    rows = tf.clip_by_value(rows, 0, heights - 1)
    columns = tf.clip_by_value(columns, 0, widths - 1)
    numbers = starts + rows * widths + columns
    if keys.nearest is not None:
        numbers = tf.cast(tf.gather(keys.nearest, numbers), tf.int32)
        rows, columns = (numbers - starts) // widths, (numbers - starts) % widths
    table = keys.values

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
    least = tf.math.unsorted_segment_min(distances, numbers, tf.shape(table)[0])
    scores = _scores(distances, tf.gather(least, numbers), alpha)
    best = tf.argmin(scores, axis=2, output_type=tf.int32)
    found = (photographs, rows, columns, distances)
    return _Matches(*(tf.gather(each, best, batch_dims=2) for each in found))


def _vote(
    found: _Matches,
    query: tf.Tensor,
    photographs: Sequence[tf.Tensor],
    wrap: bool,
    stride: int,
    trust: tf.Tensor,
) -> tf.Tensor:
    """Lays the matches over each other, each by how well it fits; [H, W, C]."""
    ordered = tf.sort(tf.reshape(found.distances, [-1]))
    index = tf.cast(tf.size(ordered) - 1, tf.float32) * trust
    unit = tf.maximum(ordered[tf.cast(index, tf.int32)], _LEAST_TRUST_UNIT)
    votes = tf.exp(tf.maximum(-found.distances / (2 * unit), _LEAST_TRUST))
    seen, tops = one_below_the_other(photographs)
    rows = found.rows + tf.gather(tops, found.photographs)
    corners = rows * tf.shape(seen)[1] + found.columns
    window = tf.exp(
        -((tf.range(PATCH_SIZE, dtype=tf.float32) - (PATCH_SIZE - 1) / 2) ** 2)
        / (2 * _WINDOW_STDDEV**2)
    )
    size = tf.unstack(tf.shape(query)[:2])
    return overlay(corners, seen, size, wrap, stride, (votes, window))
