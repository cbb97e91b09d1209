"""Distances between the patches of two images, in place of a critic.

Each of the four loss functions takes the photograph, computes once what depends on
it alone, and returns a function of fakes that gives one value per sample: under a
distribution strategy gradients are summed over replicas, so the caller divides by
the global batch size. Values are divided by the number of values in a patch, so
that a weight suits every patch size. docs/critic_free.md compares the four.
"""

import math
from collections.abc import Sequence
from typing import Callable, Optional, Union

import tensorflow as tf

from singan_tf.config import AdversaryConfig
from singan_tf.model import noise
from singan_tf.training.moments import (
    SHRINKAGE,
    Moments,
    inverse_root,
    moments,
    square_root,
    trace_of_root,
)
from singan_tf.training.patch_sets import (
    Part,
    grid_of,
    parts_of,
    patches,
    patches_of_all,
    some_inside,
    subset,
    together,
)

# fakes float32 [B, H, W, C] and their seeds int64 [B] to values float32 [B].
Distance = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
# A photograph, [1 or B, H, W, C], or several whose patches count as those of one.
Reals = Union[tf.Tensor, Sequence[tf.Tensor]]
# What counts of it, or of each, float32 [1 or B, H, W, 1] of 0 and 1; None for all.
Insides = Union[None, tf.Tensor, Sequence[Optional[tf.Tensor]]]

# What a patch_weight of 1 is for each: with it and the default reconstruction weight
# both terms move the generator (docs/critic_free.md tells how they were chosen).
WEIGHTS = {
    "frechet": 3.0,
    "nearest_neighbor": 0.075,
    "aligned_nearest_neighbor": 3.0,
    "sliced_wasserstein": 2.0,
}


def weight(config: AdversaryConfig, name: str) -> float:
    """What a distance is multiplied by in the generator's loss."""
    return config.patch_weight * WEIGHTS[name]


def make(
    config: AdversaryConfig,
    name: str,
    real: Optional[Reals],
    inside: Insides = None,
) -> Callable:
    """Makes a distance.

    Args:
        config: Its settings.
        name: One of `WEIGHTS`.
        real: The photograph, float32 [1, H, W, C], that every fake is compared with;
            what depends on it alone is computed now. None where it changes. A list of
            several, of any sizes, is one set of patches.
        inside: What of it counts, float32 [1, H, W, 1] of 0 and 1, or None for all; of
            several, a list.

    Returns:
        A function of fakes float32 [B, H, W, C], reals [B, h, w, C] or a list of them,
        seeds int64 [B] and what counts of the reals, as `inside`, to values float32
        [B]. Reals and what counts of them are looked at only without `real`.
    """
    grid = (config.patch_size, config.patch_stride)
    search = (*grid, config.patch_count, config.patch_memory)

    def distance_to(image, counts):
        if name == "frechet":
            return frechet(image, *grid, counts)
        if name == "sliced_wasserstein":
            return sliced_wasserstein(
                image, *grid, config.patch_count, config.patch_projections, counts
            )
        if name == "nearest_neighbor":
            return nearest_neighbor(image, *search, counts)
        return aligned_nearest_neighbor(image, *search, config.patch_alignment, counts)

    if real is None:
        return lambda fakes, reals, seeds, counts=None: distance_to(reals, counts)(
            fakes, seeds
        )
    distance = distance_to(real, inside)
    return lambda fakes, reals, seeds, counts=None: distance(fakes, seeds)


def frechet(real: Reals, size: int, stride: int, inside: Insides = None) -> Distance:
    """Frechet distance between Gaussians fitted to all patches.

    |m_r - m_f|^2 + tr(S_r + S_f - 2 (S_r^1/2 S_f S_r^1/2)^1/2), divided by the
    number of values in a patch. The product has the same trace of its root as
    S_r S_f, and is symmetric. Covariances are summed in the images' precision; the
    small matrices are then handled in float64, where the difference of nearly equal
    traces keeps its digits.

    Args:
        real: [1 or B, H, W, C], or a list.
        size: Side of a patch.
        stride: Pixels between patches.
        inside: What counts of the real, float32 [1 or B, H, W, 1] of 0 and 1, or a
            list: only patches that lie inside as a whole are real ones. None for all.
            So for all distances.

    Returns:
        The distance; its seeds have no effect.
    """

    def side(parts):
        found = moments(*patches_of_all(parts, size, stride))
        return found, square_root(found.covariance)

    def compare(real_side, fake, _):
        (mean, covariance), root = real_side
        other = moments(patches(fake, size, stride))
        between = root @ other.covariance @ root
        distance = (
            tf.reduce_sum((mean - other.mean) ** 2)
            + tf.linalg.trace(covariance + other.covariance)
            - 2 * trace_of_root(between)
        )
        return tf.cast(distance / mean.shape[0], fake.dtype)

    return _by_row(real, inside, (size, stride), side, compare)


def nearest_neighbor(
    real: Reals,
    size: int,
    stride: int,
    count: int,
    memory: int,
    inside: Insides = None,
) -> Distance:
    """Mean over fake patches of the squared distance to the nearest real patch.

    Exact: every real patch is looked at, in groups. Which one is nearest is found
    without a gradient; the distances to those found then carry it, so nothing of
    the search is kept. A squared distance is the mean over a patch's values.

    Args:
        real: [1 or B, H, W, C], or a list.
        size: Side of a patch.
        stride: Pixels between patches, in both images.
        count: Fake patches, drawn at random from a sample's seed; 0 for all.
        memory: What the search may hold, in MiB. Beside it there are a few
            arrays of the fake patches that are compared.
        inside: See `frechet`.

    Returns:
        The distance.
    """

    def compare(parts, fake, seed):
        chosen = subset(fake, size, stride, count, seed)
        found = patches(fake, size, stride, chosen)
        return _mean_to_nearest(found, parts, size, stride, memory)

    return _by_row(real, inside, (size, stride), lambda parts: parts, compare)


def aligned_nearest_neighbor(
    real: Reals,
    size: int,
    stride: int,
    count: int,
    memory: int,
    alignment: str,
    inside: Insides = None,
) -> Distance:
    """`nearest_neighbor` of fake patches that first get the real ones' moments.

    x' = S_r^1/2 S_f^-1/2 (x - m_f) + m_r. Both covariances are shrunk towards a
    multiple of the identity, so that a direction in which fakes do not vary is not
    divided by zero, and equal covariances still give the identity.

    The loss is blind to the fakes' own mean and covariance, which are undone before
    it looks; the reconstruction term has to hold them. So the gradient flows through
    the alignment too, and is exactly zero along every affine change of the patches.
    Stopped there it is not: neighbours pull aligned patches together, the fakes
    shrink, alignment stretches them again, and training ends at no contrast (tried).
    `inverse_root` gives the gradient in closed form, bounded by the shrinkage.

    Args:
        real: [1 or B, H, W, C].
        size: Side of a patch.
        stride: Pixels between patches, in both images.
        count: Fake patches that are compared, 0 for all; moments are of all.
        memory: See `nearest_neighbor`.
        alignment: covariance, the formula above; or variance, which aligns each
            value of a patch on its own and leaves out the roots of matrices.
        inside: See `frechet`.

    Returns:
        The distance.
    """
    align = _align_covariance if alignment == "covariance" else _align_variance

    def side(parts):
        return parts, moments(*patches_of_all(parts, size, stride))

    def compare(real_side, fake, seed):
        parts, target = real_side
        found = moments(patches(fake, size, stride))
        matrix = tf.cast(align(found, target), fake.dtype)
        mean, target_mean = (tf.cast(m.mean, fake.dtype) for m in (found, target))
        chosen = patches(fake, size, stride, subset(fake, size, stride, count, seed))
        aligned = (chosen - mean) @ matrix + target_mean
        return _mean_to_nearest(aligned, parts, size, stride, memory)

    return _by_row(real, inside, (size, stride), side, compare)


def sliced_wasserstein(
    real: Reals,
    size: int,
    stride: int,
    count: int,
    projections: int,
    inside: Insides = None,
) -> Distance:
    """Mean over random directions of the Wasserstein-1 distance of projections.

    Patches of both images are projected onto random unit vectors, by convolution;
    in one dimension optimal transport pairs sorted values. Where there are more
    real than fake patches or the reverse, the fewer are interpolated.

    Directions are drawn anew for every seed, so over steps the mean over directions
    is unbiased. A random subset of patches is not: transport between samples costs
    at least as much as between what they are drawn from (the distance is jointly
    convex), so the value is biased upwards, less the more patches, and exact with
    all. Images of one size are compared at the same random places, where equal
    images give zero for every subset.

    Args:
        real: [1 or B, H, W, C].
        size: Side of a patch.
        stride: Pixels between patches.
        count: Patches of each image, drawn at random; 0 for all.
        projections: How many directions.
        inside: See `frechet`. Each real patch inside stands for as many of those that
            are not as any other, give or take one.

    Returns:
        The distance.
    """

    def compare(parts, fake, seed):
        shape = [size, size, fake.shape[2], projections]
        directions = noise.normal(seed, noise.PROJECTION_STREAM, shape)[0]
        directions = tf.cast(directions, fake.dtype)
        directions /= tf.sqrt(tf.reduce_sum(directions**2, axis=[0, 1, 2]))
        sides = [
            _sorted_projections(side, directions, stride, count, seed)
            for side in (parts, [(fake, None)])
        ]
        most = max(side.shape[1] for side in sides)
        real_side, fake_side = (_quantiles(side, most) for side in sides)
        return tf.reduce_mean(tf.abs(real_side - fake_side))

    return _by_row(real, inside, (size, stride), lambda parts: parts, compare)


def _sorted_projections(
    parts: Sequence[Part],
    directions: tf.Tensor,
    stride: int,
    count: int,
    seed: tf.Tensor,
) -> tf.Tensor:
    """Patches on each of the directions [size, size, C, P] in order, [P, N]."""
    size, found = directions.shape[0], []
    for image, whole in parts:
        projected = tf.nn.conv2d(image[None], directions, stride, "VALID")
        projected = tf.reshape(projected, [-1, directions.shape[3]])
        chosen = subset(image, size, stride, count, seed, whole)
        if chosen is not None:
            projected, whole = tf.gather(projected, chosen), None
        found.append((projected, whole))
    projected, whole = together(found)
    if whole is not None:
        total = projected.shape[0]
        projected = tf.gather(projected, some_inside(whole, total, total, seed))
    return tf.sort(tf.transpose(projected), axis=1)


def _by_row(
    real: Reals,
    inside: Insides,
    grid: tuple[int, int],
    side: Callable,
    compare: Callable,
) -> Distance:
    """A distance of a batch from one of a single image.

    Args:
        real: [1 or B, H, W, C], or a list.
        inside: See `frechet`.
        grid: The side of a patch, and the stride.
        side: Maps the reals of a row, each a `Part`, to what `compare` takes of them.
        compare: Maps that, one fake [H, W, C] and its seed, int64 [1], to a scalar.
    """
    reals = real if isinstance(real, (list, tuple)) else [real]
    insides = inside if isinstance(inside, (list, tuple)) else [inside] * len(reals)
    parts_of_each = [parts_of(*both, *grid) for both in zip(reals, insides)]
    sides = [side(list(parts)) for parts in zip(*parts_of_each)]

    def distance(fakes, seeds):
        rows = zip(tf.unstack(fakes), tf.split(seeds, seeds.shape[0]))
        return tf.stack(
            [
                compare(sides[min(i, len(sides) - 1)], fake, seed)
                for i, (fake, seed) in enumerate(rows)
            ]
        )

    return distance


def _align_covariance(found: Moments, target: Moments) -> tf.Tensor:
    """What a centred row is multiplied by, from the right, float64 [D, D]."""
    shrink = SHRINKAGE * tf.eye(found.mean.shape[0], dtype=tf.float64)
    colour = square_root(target.covariance + shrink)
    return inverse_root(found.covariance + shrink) @ colour


def _align_variance(found: Moments, target: Moments) -> tf.Tensor:
    """As `_align_covariance`, but from the diagonals alone."""
    before, after = (
        tf.linalg.diag_part(side.covariance) + SHRINKAGE for side in (found, target)
    )
    return tf.linalg.diag(tf.sqrt(after / before))


def _mean_to_nearest(
    found: tf.Tensor, parts: Sequence[Part], size: int, stride: int, memory: int
) -> tf.Tensor:
    """Mean squared difference of patches [N, D] from the nearest ones, a scalar."""
    fixed = tf.stop_gradient(found)
    neighbours = [
        patches(part[0], size, stride, _nearest(fixed, *part, size, stride, memory))
        for part in parts
    ]
    nearest = neighbours[0]
    if len(parts) > 1:
        far = [tf.reduce_sum((fixed - each) ** 2, axis=1) for each in neighbours]
        best = tf.argmin(tf.stack(far, axis=1), axis=1)
        nearest = tf.gather(tf.stack(neighbours, axis=1), best, batch_dims=1)
    return tf.reduce_mean((found - nearest) ** 2)


def _nearest(
    found: tf.Tensor,
    image: tf.Tensor,
    whole: Optional[tf.Tensor],
    size: int,
    stride: int,
    memory: int,
) -> tf.Tensor:
    """Position of the nearest patch of an image for each of patches [N, D]."""
    total, count = math.prod(grid_of(image, size, stride)), found.shape[0]
    # Half of the memory is for a table of group x others, half for what makes it.
    cells = max(memory * 2**20 // (2 * found.dtype.size), 1)
    group = min(count, max(int(cells**0.5), 1))
    others = min(total, max(cells // group, 1))

    def nearest_of_group(start):
        # The last group steps back to be a whole one.
        return search(found[start : start + group])

    def search(queries):
        # |q - c|^2 without |q|^2, which is the same for all candidates, as one product.
        with_one = tf.concat([queries, tf.ones_like(queries[:, :1])], axis=1)

        def look(start, best, where):
            positions = tf.minimum(start + tf.range(others), total - 1)
            candidates = patches(image, size, stride, positions)
            lengths = tf.reduce_sum(candidates**2, axis=1, keepdims=True)
            with_length = tf.concat([-2 * candidates, lengths], axis=1)
            table = tf.matmul(with_one, with_length, transpose_b=True)
            if whole is not None:
                table = tf.where(tf.gather(whole, positions), table, table.dtype.max)
            index = tf.argmin(table, axis=1, output_type=tf.int32)
            least = tf.gather(table, index, batch_dims=1)
            return (
                start + others,
                tf.minimum(best, least),
                tf.where(least < best, tf.gather(positions, index), where),
            )

        best = tf.fill([group], tf.constant(float("inf"), queries.dtype))
        return tf.while_loop(
            lambda start, *_: start < total,
            look,
            (0, best, tf.zeros([group], tf.int32)),
            parallel_iterations=1,
        )[2]

    starts = list(range(0, count - group, group)) + [count - group]
    if len(starts) == 1:
        return nearest_of_group(0)
    found_in_groups = tf.map_fn(
        nearest_of_group,
        tf.constant(starts),
        parallel_iterations=1,
        fn_output_signature=tf.int32,
    )
    skipped = len(starts) * group - count
    return tf.concat(
        [tf.reshape(found_in_groups[:-1], [-1]), found_in_groups[-1, skipped:]], axis=0
    )


def _quantiles(ordered: tf.Tensor, count: int) -> tf.Tensor:
    """Interpolates sorted values [P, N] to `count` evenly spread ones."""
    present = ordered.shape[1]
    if present == count:
        return ordered
    # The i-th of n sorted values stands for the quantile (i + 1/2) / n.
    place = (tf.range(count, dtype=ordered.dtype) + 0.5) * (present / count) - 0.5
    place = tf.clip_by_value(place, 0, present - 1)
    below = tf.cast(place, tf.int32)
    share = place - tf.cast(below, ordered.dtype)
    above = tf.minimum(below + 1, present - 1)
    return (1 - share) * tf.gather(ordered, below, axis=1) + share * tf.gather(
        ordered, above, axis=1
    )
