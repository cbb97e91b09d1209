"""Distances between the patches of two images, in place of a critic.

Each of the four loss functions takes the photograph, computes once what depends on
it alone, and returns a function of fakes that gives one value per sample: under a
distribution strategy gradients are summed over replicas, so the caller divides by
the global batch size. Values are divided by the number of values in a patch, so
that a weight suits every patch size. docs/critic_free.md compares the four.
"""

from collections.abc import Sequence
from typing import Callable, NamedTuple, Optional, Union

import tensorflow as tf

from singan_tf.config import AdversaryConfig
from singan_tf.model import noise

# fakes float32 [B, H, W, C] and their seeds int64 [B] to values float32 [B].
Distance = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
# A photograph, [1 or B, H, W, C], or several whose patches count as those of one.
Reals = Union[tf.Tensor, Sequence[tf.Tensor]]

# What a patch_weight of 1 is for each: with it and the default reconstruction weight
# both terms move the generator (docs/critic_free.md tells how they were chosen).
WEIGHTS = {
    "frechet": 3.0,
    "nearest_neighbor": 0.075,
    "aligned_nearest_neighbor": 3.0,
    "sliced_wasserstein": 2.0,
}

# Of the largest eigenvalue: below it the gradient of a root stops growing. Under a
# grey level of 8 bits in standard deviation, and well above float64's rounding.
_ROOT_FLOOR = 1e-12
# Added to variances before they are divided by: about a grey level of 8 bits,
# squared. What varies less is noise, which alignment must not blow up.
_SHRINKAGE = 1e-4


class Moments(NamedTuple):
    """Mean [D] and covariance [D, D] (over N - 1) of a set of patches, float64."""

    mean: tf.Tensor
    covariance: tf.Tensor


def weight(config: AdversaryConfig, name: str) -> float:
    """What a distance is multiplied by in the generator's loss."""
    return config.patch_weight * WEIGHTS[name]


def make(config: AdversaryConfig, name: str, real: Optional[Reals]) -> Callable:
    """Makes a distance.

    Args:
        config: Its settings.
        name: One of `WEIGHTS`.
        real: The photograph, float32 [1, H, W, C], that every fake is compared with;
            what depends on it alone is computed now. None where it changes. A list of
            several, of any sizes, is one set of patches.

    Returns:
        A function of fakes float32 [B, H, W, C], reals [B, h, w, C] or a list of
        them, which count only without `real`, and seeds int64 [B], to values float32
        [B].
    """
    grid = (config.patch_size, config.patch_stride)
    search = (*grid, config.patch_count, config.patch_memory)

    def distance_to(image):
        if name == "frechet":
            return frechet(image, *grid)
        if name == "sliced_wasserstein":
            return sliced_wasserstein(
                image, *grid, config.patch_count, config.patch_projections
            )
        if name == "nearest_neighbor":
            return nearest_neighbor(image, *search)
        return aligned_nearest_neighbor(image, *search, config.patch_alignment)

    if real is None:
        return lambda fakes, reals, seeds: distance_to(reals)(fakes, seeds)
    distance = distance_to(real)
    return lambda fakes, reals, seeds: distance(fakes, seeds)


def patches(
    image: tf.Tensor, size: int, stride: int, positions: Optional[tf.Tensor] = None
) -> tf.Tensor:
    """Cuts square patches out of an image.

    Args:
        image: [H, W, C], of static shape.
        size: Side of a patch, at most H and W.
        stride: Pixels from one patch to the next, down and across.
        positions: int32 [N], which patches, counted row by row; None for all.

    Returns:
        [N, size * size * C], each patch row by row.
    """
    width, channels = image.shape[1:]
    rows, columns = _grid(image, size, stride)
    if positions is None:
        positions = tf.range(rows * columns)
    corner = (positions // columns * width + positions % columns) * stride
    inside = tf.reshape(tf.range(size)[:, None] * width + tf.range(size), [-1])
    pixels = tf.gather(tf.reshape(image, [-1, channels]), corner[:, None] + inside)
    return tf.reshape(pixels, [-1, size * size * channels])


def frechet(real: Reals, size: int, stride: int) -> Distance:
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

    Returns:
        The distance; its seeds have no effect.
    """

    def side(images):
        found = moments(_patches_of_all(images, size, stride))
        return found, _root(found.covariance)

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

    return _by_row(real, side, compare)


def nearest_neighbor(
    real: Reals, size: int, stride: int, count: int, memory: int
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

    Returns:
        The distance.
    """

    def compare(images, fake, seed):
        chosen = _subset(fake, size, stride, count, seed)
        found = patches(fake, size, stride, chosen)
        return _mean_to_nearest(found, images, size, stride, memory)

    return _by_row(real, lambda images: images, compare)


def aligned_nearest_neighbor(
    real: Reals, size: int, stride: int, count: int, memory: int, alignment: str
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

    Returns:
        The distance.
    """
    align = _align_covariance if alignment == "covariance" else _align_variance

    def side(images):
        return images, moments(_patches_of_all(images, size, stride))

    def compare(real_side, fake, seed):
        images, target = real_side
        found = moments(patches(fake, size, stride))
        matrix = tf.cast(align(found, target), fake.dtype)
        mean, target_mean = (tf.cast(m.mean, fake.dtype) for m in (found, target))
        chosen = patches(fake, size, stride, _subset(fake, size, stride, count, seed))
        aligned = (chosen - mean) @ matrix + target_mean
        return _mean_to_nearest(aligned, images, size, stride, memory)

    return _by_row(real, side, compare)


def sliced_wasserstein(
    real: Reals, size: int, stride: int, count: int, projections: int
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

    Returns:
        The distance.
    """

    def projections_of(image, directions, seed):
        projected = tf.nn.conv2d(image[None], directions, stride, "VALID")
        projected = tf.reshape(projected, [-1, projections])
        chosen = _subset(image, size, stride, count, seed)
        return projected if chosen is None else tf.gather(projected, chosen)

    def sorted_projections(images, directions, seed):
        projected = [projections_of(image, directions, seed) for image in images]
        return tf.sort(tf.transpose(tf.concat(projected, axis=0)), axis=1)

    def compare(images, fake, seed):
        shape = [size, size, fake.shape[2], projections]
        directions = noise.normal(seed, noise.PROJECTION_STREAM, shape)[0]
        directions = tf.cast(directions, fake.dtype)
        directions /= tf.sqrt(tf.reduce_sum(directions**2, axis=[0, 1, 2]))
        sides = [sorted_projections(x, directions, seed) for x in (images, [fake])]
        most = max(side.shape[1] for side in sides)
        real_side, fake_side = (_quantiles(side, most) for side in sides)
        return tf.reduce_mean(tf.abs(real_side - fake_side))

    return _by_row(real, lambda images: images, compare)


def moments(found: tf.Tensor) -> Moments:
    """Mean and covariance of patches [N, D], in float64."""
    mean = tf.reduce_mean(found, axis=0)
    centred = found - mean
    # A single patch has no covariance: zero, not 0 / 0.
    covariance = tf.matmul(centred, centred, transpose_a=True)
    covariance = tf.cast(covariance, tf.float64) / max(found.shape[0] - 1, 1)
    return Moments(tf.cast(mean, tf.float64), covariance)


@tf.custom_gradient
def trace_of_root(matrix: tf.Tensor) -> tf.Tensor:
    """Trace of the square root of a symmetric matrix, float64 [D, D].

    Negative eigenvalues, which rounding makes of zeros, count as zero. The gradient
    has the closed form 1/2 M^-1/2; going through eigenvectors instead would divide
    by the differences of eigenvalues, which are zero where eigenvalues repeat.
    """
    eigenvalues, vectors = tf.linalg.eigh(matrix)
    # eigh sorts upwards. The tiny number is for a matrix of zeros.
    floor = tf.maximum(_ROOT_FLOOR * eigenvalues[-1], _ROOT_FLOOR**2)

    def gradient(upstream):
        scaled = vectors / tf.sqrt(tf.maximum(eigenvalues, floor))
        return upstream / 2 * tf.matmul(scaled, vectors, transpose_b=True)

    return tf.reduce_sum(tf.sqrt(tf.maximum(eigenvalues, 0))), gradient


@tf.custom_gradient
def inverse_root(matrix: tf.Tensor) -> tf.Tensor:
    """Inverse square root of a symmetric positive definite matrix, float64 [D, D].

    Its gradient solves R dR^-1 + dR^-1 R = -R^-1 dM R^-1 for R = M^1/2 in the basis of
    eigenvectors, dividing by sums of roots and by no difference; see `trace_of_root`.
    """
    eigenvalues, vectors = tf.linalg.eigh(matrix)
    # Rounding may leave less than the shrinkage that the caller added.
    roots = tf.sqrt(tf.maximum(eigenvalues, _SHRINKAGE / 2))

    def gradient(upstream):
        inside = tf.matmul(vectors, upstream @ vectors, transpose_a=True)
        inside /= -roots * roots[:, None] * (roots + roots[:, None])
        return vectors @ tf.matmul(inside, vectors, transpose_b=True)

    return tf.matmul(vectors / roots, vectors, transpose_b=True), gradient


def _by_row(real: Reals, side: Callable, compare: Callable) -> Distance:
    """A distance of a batch from one of a single image.

    Args:
        real: [1 or B, H, W, C], or a list.
        side: Maps the reals of a row, each [H, W, C], to what `compare` takes of them.
        compare: Maps that, one fake [H, W, C] and its seed, int64 [1], to a scalar.
    """
    several = real if isinstance(real, (list, tuple)) else [real]
    rows_of_each = [tf.unstack(tf.convert_to_tensor(each)) for each in several]
    sides = [side(list(images)) for images in zip(*rows_of_each)]

    def distance(fakes, seeds):
        rows = zip(tf.unstack(fakes), tf.split(seeds, seeds.shape[0]))
        return tf.stack(
            [
                compare(sides[min(i, len(sides) - 1)], fake, seed)
                for i, (fake, seed) in enumerate(rows)
            ]
        )

    return distance


def _patches_of_all(images: Sequence[tf.Tensor], size: int, stride: int) -> tf.Tensor:
    """`patches` of several images."""
    return tf.concat([patches(image, size, stride) for image in images], axis=0)


def _grid(image: tf.Tensor, size: int, stride: int) -> tuple[int, int]:
    """How many patches there are down and across."""
    return tuple((side - size) // stride + 1 for side in image.shape[:2])


def _subset(
    image: tf.Tensor, size: int, stride: int, count: int, seed: tf.Tensor
) -> Optional[tf.Tensor]:
    """Positions of `count` different random patches, int32; None for all."""
    rows, columns = _grid(image, size, stride)
    if not 0 < count < rows * columns:
        return None
    lots = noise.uniform(seed, noise.PATCH_STREAM, rows * columns)[0]
    return tf.math.top_k(lots, count, sorted=False).indices


def _root(matrix: tf.Tensor) -> tf.Tensor:
    """Square root of a symmetric matrix; negative eigenvalues count as zero."""
    eigenvalues, vectors = tf.linalg.eigh(matrix)
    scaled = vectors * tf.sqrt(tf.maximum(eigenvalues, 0))
    return tf.matmul(scaled, vectors, transpose_b=True)


def _align_covariance(found: Moments, target: Moments) -> tf.Tensor:
    """What a centred row is multiplied by, from the right, float64 [D, D]."""
    shrink = _SHRINKAGE * tf.eye(found.mean.shape[0], dtype=tf.float64)
    colour = _root(target.covariance + shrink)
    return inverse_root(found.covariance + shrink) @ colour


def _align_variance(found: Moments, target: Moments) -> tf.Tensor:
    """As `_align_covariance`, but from the diagonals alone."""
    before, after = (
        tf.linalg.diag_part(side.covariance) + _SHRINKAGE for side in (found, target)
    )
    return tf.linalg.diag(tf.sqrt(after / before))


def _mean_to_nearest(
    found: tf.Tensor, images: Sequence[tf.Tensor], size: int, stride: int, memory: int
) -> tf.Tensor:
    """Mean squared difference of patches [N, D] from the images' nearest, a scalar."""
    fixed = tf.stop_gradient(found)
    neighbours = [
        patches(image, size, stride, _nearest(fixed, image, size, stride, memory))
        for image in images
    ]
    nearest = neighbours[0]
    if len(images) > 1:
        far = [tf.reduce_sum((fixed - each) ** 2, axis=1) for each in neighbours]
        best = tf.argmin(tf.stack(far, axis=1), axis=1)
        nearest = tf.gather(tf.stack(neighbours, axis=1), best, batch_dims=1)
    return tf.reduce_mean((found - nearest) ** 2)


def _nearest(
    found: tf.Tensor, image: tf.Tensor, size: int, stride: int, memory: int
) -> tf.Tensor:
    """Position of the nearest patch of an image for each of patches [N, D]."""
    rows, columns = _grid(image, size, stride)
    total, count = rows * columns, found.shape[0]
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
