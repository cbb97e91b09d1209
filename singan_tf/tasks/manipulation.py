"""The tasks of the paper, each a thin call on `SinGAN`: arrays in, arrays out.

Paint-to-image, harmonization, editing and inpainting are one thing, an image that
enters the pyramid at some scale and is redrawn from there on; they differ in what
enters and in what is kept of it.
"""

import math
from collections.abc import Iterator
from typing import Callable, NamedTuple

import numpy as np
import tensorflow as tf
from scipy import ndimage
from scipy.cluster import vq
from skimage import feature, filters, measure, morphology

from singan_tf.model import noise, pyramid
from singan_tf.model.resize import resize
from singan_tf.model.singan import SinGAN, bring_up

# A blur reaches so many sigmas, then is exactly zero.
_BLUR_REACH = 4.0
# Relaxations of a filled hole at every size; more of them change next to nothing.
_FILL_SWEEPS = 16
# The factor that a step of super-resolution comes close to (SinGAN, section 4).
_STEP_FACTOR = 2 ** (1 / 3)
# Canny's, for a sketch: the blur in pixels, and which share of an image's gradients is
# too weak for a line to go on, and to begin.
_SKETCH_BLUR, _SKETCH_WEAK, _SKETCH_STRONG = 1.0, 0.8, 0.9
# Gradients below it are rounding: a step of one in 8 bits makes over 30 times as much.
_SKETCH_ROUNDING = 1e-4


class Walk(NamedTuple):
    """How the noise of an animation moves (SinGAN, supplementary material).

    Attributes:
        start_scale: Scales below it stand still and show the photograph.
        alpha: Pull back to z*, 0 to 1: the higher, the closer to the photograph.
        beta: Inertia, 0 to 1: the higher, the smoother and slower.
        frames: How many.
        loop: Whether the last frame flows into the first.
        seed: Of the walk.
    """

    start_scale: int
    alpha: float
    beta: float
    frames: int
    loop: bool
    seed: int


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Brings a mask to another size, so that nothing in it is lost.

    Args:
        mask: [H, W], float in [0, 1] or bool.
        height: The height of the result in pixels.
        width: Its width.

    Returns:
        [height, width], each pixel the brightest of those that its area overlaps: what
        the mask touches is inside, however thin.
    """
    for target in (height, width):
        edges = np.arange(target + 1) * len(mask)
        first, end = edges[:-1] // target, -(-edges[1:] // target)
        # Every other one of reduceat's ranges is one of ours; it has to find each end.
        ranges = np.stack([first, end], axis=1).ravel()
        padded = np.concatenate([mask, mask[-1:]])
        mask = np.maximum.reduceat(padded, ranges)[::2].T
    return mask


def soften_mask(mask: np.ndarray, radius: float, sigma: float) -> np.ndarray:
    """Widens a mask by a disk and blurs its edge (SinGAN, section 4).

    Args:
        mask: [H, W], float in [0, 1] or bool; inside is above 0.5.
        radius: Of the disk, in pixels; 0 widens nothing.
        sigma: Of the Gaussian blur, in pixels; 0 blurs nothing.

    Returns:
        float32 [H, W] in [0, 1], exactly 0 further than `radius` plus, along each
        axis, 4 sigma from the inside. With both 0 the mask as it is, what is between
        0 and 1 included.
    """
    if radius == sigma == 0:
        return np.asarray(mask, np.float32)
    inside = np.asarray(mask) > 0.5
    if not inside.any():
        return np.zeros(inside.shape, np.float32)
    widened = morphology.isotropic_dilation(inside, radius).astype(np.float32)
    # Mode "nearest": what touches the image's border goes on beyond it.
    blurred = filters.gaussian(
        widened, sigma, mode="nearest", truncate=_BLUR_REACH, preserve_range=True
    )
    return np.clip(blurred, 0, 1).astype(np.float32)


def blend(original: np.ndarray, changed: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Lays one image over another.

    Args:
        original: float32 [1, H, W, C]; kept to the last bit where the mask is 0.
        changed: Likewise, shown where the mask is 1.
        mask: float32 [H, W] in [0, 1].

    Returns:
        float32 [1, H, W, C].
    """
    weight = mask[np.newaxis, :, :, np.newaxis]
    return (1 - weight) * original + weight * changed


def redraw(
    singan: SinGAN, image: np.ndarray, injection_scale: int, seed: int
) -> np.ndarray:
    """Redraws an image in the photograph's texture, from a scale on.

    Args:
        singan: The trained pyramid.
        image: float32 [1, H, W, C] in [-1, 1], at any size.
        injection_scale: From 1 to the last scale; the lower, the more changes.
        seed: Of the noise.

    Returns:
        float32 [1, H, W, C] in [-1, 1].

    Raises:
        ValueError: if the scale is out of range.
    """
    return singan.inject(tf.constant(image), injection_scale, [seed]).numpy()


def fill_hole(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fills a hole smoothly from the pixels around it.

    The fill is nearly the membrane that is spanned by the hole's border, where every
    pixel is the mean of its four neighbours, so that sky stays sky and ground ground
    along a scratch through both. It is found coarse to fine: the known pixels are
    averaged in blocks of 2x2 until none is missing, as in the pull-push algorithm
    (Gortler et al., The Lumigraph, 1996), and on the way back every size is relaxed by
    Gauss-Seidel. Time and memory grow with the image's pixels alone.

    Args:
        image: float32 [1, H, W, C].
        mask: bool [H, W], true inside the hole.

    Returns:
        float32 [1, H, W, C], equal to the image outside the mask.

    Raises:
        ValueError: if the hole is the whole image.
    """
    if mask.all():
        raise ValueError("the hole is the whole image and has no border")
    return _filled(image[0], mask)[np.newaxis]


def _filled(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """`fill_hole` of [H, W, C], of which some pixels are known."""
    if not hole.any():
        return image
    height, width = hole.shape
    known = _sums_of_blocks((~hole)[..., np.newaxis].astype(np.float32))
    coarse = _sums_of_blocks(np.where(hole[..., np.newaxis], np.float32(0), image))
    coarse = _filled(coarse / np.maximum(known, 1), known[..., 0] == 0)
    rows, columns = np.nonzero(hole)
    places = [rows / 2 - 0.25, columns / 2 - 0.25]
    # A margin, so that pixels at the border have neighbours, too.
    padded = np.pad(image, [(1, 1), (1, 1), (0, 0)])
    flat = padded.reshape(-1, image.shape[-1])
    indices = (rows + 1) * (width + 2) + columns + 1
    for channel in range(image.shape[-1]):
        flat[indices, channel] = ndimage.map_coordinates(
            coarse[..., channel], places, order=1, mode="nearest"
        )
    odd = (rows + columns) % 2 == 1
    for half in (indices[odd], indices[~odd]) * _FILL_SWEEPS:
        padded[0], padded[-1] = padded[1], padded[-2]
        padded[:, 0], padded[:, -1] = padded[:, 1], padded[:, -2]
        beside = flat[half - 1] + flat[half + 1]
        flat[half] = (beside + flat[half - width - 2] + flat[half + width + 2]) / 4
    return padded[1:-1, 1:-1]


def _sums_of_blocks(image: np.ndarray) -> np.ndarray:
    """Sums over blocks of 2x2 pixels, [ceil(H / 2), ceil(W / 2), C]."""
    return measure.block_reduce(image, (2, 2, 1), np.sum)


def super_resolution_sizes(
    height: int, width: int, factor: float
) -> list[tuple[int, int]]:
    """The sizes that super-resolution goes through.

    Args:
        height: Of the image, in pixels.
        width: Likewise.
        factor: At least 1.

    Returns:
        (height, width) after each step, the last one round(factor * size); their
        ratio is the one closest to 2 ** (1/3) that makes a whole number of steps.

    Raises:
        ValueError: if the factor is below 1.
    """
    if factor < 1:
        raise ValueError(f"factor {factor} is below 1")
    factor = tf.constant(factor, tf.float64)
    sizes = _super_resolution_sizes(tf.constant([height, width]), factor)
    return [tuple(size) for size in sizes.numpy().tolist()]


def _super_resolution_sizes(size: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """The same, int64 [steps, 2], for a size and a float64 factor in a graph."""
    steps = tf.round(tf.math.log(factor) * (1 / math.log(_STEP_FACTOR)))
    steps = tf.maximum(steps, 1)
    factors = factor ** (tf.range(1, steps + 1) / steps)
    return tf.cast(
        tf.round(tf.cast(size, tf.float64) * factors[:, tf.newaxis]), tf.int64
    )


def super_resolve(
    singan: SinGAN,
    image: np.ndarray,
    factor: float,
    seed: int,
    strength: float = 0.8,
    back_projection: bool = True,
) -> np.ndarray:
    """Enlarges an image by the finest stage, applied again and again.

    Textures repeat across sizes, so the step from the last scale but one to the
    last serves as the step beyond it, too (SinGAN, section 4). What a step invents
    may move colours and edges; back-projection (Irani and Peleg, 1991, one
    iteration) then adds, enlarged, what the image has and the result shrunk to the
    image's size has not.

    Args:
        singan: The trained pyramid.
        image: float32 [1, H, W, C] in [-1, 1].
        factor: At least 1.
        seed: Of the noise.
        strength: How much each step takes of what the stage adds to plain
            enlargement, 0 to 1. The paper takes all, and what is too sharp after
            one step is far too sharp after six.
        back_projection: Whether each step is followed by it; the paper has none.

    Returns:
        float32 [1, round(factor * H), round(factor * W), C] in [-1, 1].

    Raises:
        ValueError: if the factor is below 1.
    """
    *_, result = super_resolution(
        singan, image, factor, seed, strength, back_projection
    )
    return result


def super_resolution(
    singan: SinGAN,
    image: np.ndarray,
    factor: float,
    seed: int,
    strength: float = 0.8,
    back_projection: bool = True,
) -> Iterator[np.ndarray]:
    """`super_resolve` step by step, for who wants to see how far it is.

    Arguments and errors are those of `super_resolve`.

    Yields:
        float32 [1, H, W, C] in [-1, 1] after each step, at the sizes of
        `super_resolution_sizes`; the last one is the result.
    """
    sizes = super_resolution_sizes(*image.shape[1:3], factor)
    take_step = _super_resolution_step(singan, strength, back_projection)
    image, seeds = tf.constant(image), tf.constant([seed], tf.int64)
    result = image
    for step, size in enumerate(sizes):
        result = take_step(
            image, result, tf.constant(size, tf.int64), seeds, tf.constant(step)
        )
        yield result.numpy()


def super_resolver(
    singan: SinGAN, strength: float = 0.8, back_projection: bool = True
) -> Callable:
    """`super_resolve` as a graph, for images and factors not known beforehand.

    Args:
        singan: The trained pyramid.
        strength: As in `super_resolve`.
        back_projection: Likewise.

    Returns:
        A tf.function of image float32 [1, H, W, C], factor float64 and seeds int64
        [1], that gives the enlarged image.
    """
    shape = [1, None, None, singan.channels]
    take_step = _super_resolution_step(singan, strength, back_projection)

    @tf.function(
        input_signature=[
            tf.TensorSpec(shape, tf.float32, "image"),
            tf.TensorSpec([], tf.float64, "factor"),
            tf.TensorSpec([1], tf.int64, "seeds"),
        ],
        autograph=False,
    )
    def enlarge(image, factor, seeds):
        sizes = _super_resolution_sizes(tf.shape(image)[1:3], factor)
        _, result = tf.while_loop(
            lambda step, _: step < tf.shape(sizes)[0],
            lambda step, result: (
                step + 1,
                take_step(image, result, sizes[step], seeds, step),
            ),
            (0, image),
            (tf.TensorShape([]), tf.TensorShape(shape)),
            parallel_iterations=1,
        )
        return result

    return enlarge


def _super_resolution_step(
    singan: SinGAN, strength: float, back_projection: bool
) -> Callable:
    """A step of super-resolution as a graph, so that it is the same wherever it runs.

    Returns:
        A tf.function of the image float32 [1, H, W, C], the result so far, the size
        after the step int64 [2], seeds int64 [1] and the step's number int32, that
        gives the result after the step.
    """
    stage = singan.stages[-1]
    image_spec = tf.TensorSpec([1, None, None, singan.channels], tf.float32)

    @tf.function(
        input_signature=[
            image_spec,
            image_spec,
            tf.TensorSpec([2], tf.int64),
            tf.TensorSpec([1], tf.int64),
            tf.TensorSpec([], tf.int32),
        ],
        autograph=False,
    )
    def take_step(image, result, size, seeds, step):
        size = tf.unstack(size)
        enlarged = bring_up(result, size)
        stream = len(singan.stages) + tf.cast(step, tf.int64)
        noise_map = stage.noise(seeds, stream, *size)
        drawn = _clip(stage(noise_map, enlarged))
        result = enlarged + strength * (drawn - enlarged)
        if back_projection:
            missing = image - resize(result, *tf.unstack(tf.shape(image)[1:3]))
            result = _clip(result + resize(missing, *size))
        return result

    return take_step


def animate(singan: SinGAN, walk: Walk) -> Iterator[np.ndarray]:
    """Walks through noise space and shows what is there, frame by frame.

    The noise of every scale from the start scale on follows

        z_t = a z* + (1 - a) (z_{t-1} + b (z_{t-1} - z_{t-2}) + (1 - b) n_t)

    with a = alpha, b = beta, n_t fresh standard normal noise, and z* the noise
    that reproduces the photograph, which is zero above scale 0. The walk starts
    at rest in z*, so the first frame is the reconstruction.

    A loop follows the same equation with noise that repeats after all frames,
    n_{t+T} = n_t, and starts where that brings it back after T frames. The
    deviation from z*, y = z - z*, obeys s_t = M s_{t-1} + e n_t for the pair
    s_t = (y_t, y_{t-1}), so with r the pair that T frames lead to from rest,
    s_0 = (I - M^T)^-1 r is that start. Every frame of a loop has then the
    distribution that the open walk tends to.

    Args:
        singan: The trained pyramid.
        walk: How the noise moves.

    Yields:
        float32 [1, H, W, C] in [-1, 1], `walk.frames` times.

    Raises:
        ValueError: if the start scale is out of range, or a loop has alpha 0,
            which never comes back.
    """
    if not 0 <= walk.start_scale < len(singan.stages):
        raise ValueError(f"no start scale {walk.start_scale}")
    if walk.loop and walk.alpha == 0:
        raise ValueError("a loop needs an alpha above 0")
    scales = range(walk.start_scale, len(singan.stages))
    below = singan.reconstructions(walk.start_scale)
    rest = below[-1] if below else tf.zeros([1, *singan.sizes[0], singan.channels])
    for deviations in _deviations(singan, walk, scales):
        image = rest
        for scale, noise_map in zip(scales, deviations):
            if scale == 0:
                noise_map += singan.reconstruction_noise
            size = singan.sizes[scale]
            image = _apply(singan.stages[scale], noise_map, image, size)
        yield image.numpy()


def frame_differences(frames: list[np.ndarray], loop: bool) -> np.ndarray:
    """How much changes from each frame to the next.

    Args:
        frames: uint8 [H, W, C], at least two.
        loop: Whether the first frame follows the last.

    Returns:
        float64 [len(frames) - 1], or one more for a loop: mean absolute
        differences in levels of 255.
    """
    following = [*frames[1:], frames[0]] if loop else frames[1:]
    return np.array(
        [np.abs(a.astype(float) - b).mean() for a, b in zip(frames, following)]
    )


def entering(singan: SinGAN, image: np.ndarray, injection_scale: int) -> np.ndarray:
    """An image as it enters at a scale: as blurred as what comes from below.

    Args:
        singan: The trained pyramid.
        image: float32 [1, H, W, C] in [-1, 1].
        injection_scale: At least 1.

    Returns:
        float32 [1, h, w, C] in [-1, 1], (h, w) the size of that scale when the
        finest is (H, W).
    """
    sizes = pyramid.resized_scales(singan.sizes, *image.shape[1:3])
    small = bring_up(tf.constant(image), sizes[injection_scale - 1])
    return bring_up(small, sizes[injection_scale]).numpy()


def find_palette(image: np.ndarray, count: int) -> np.ndarray:
    """The colours that stand for an image best, by k-means.

    Args:
        image: float32 [1, H, W, C].
        count: How many; fewer where the image has fewer.

    Returns:
        float32 [count, C].
    """
    pixels = image.reshape(-1, image.shape[-1]).astype(np.float64)
    count = min(count, len(np.unique(pixels, axis=0)))
    palette, _ = vq.kmeans2(pixels, count, minit="++", seed=0)
    return palette.astype(np.float32)


def sketch(image: np.ndarray) -> np.ndarray:
    """Draws the outlines of an image (Canny's edge detector).

    Args:
        image: float32 [1, H, W, C] in [-1, 1].

    Returns:
        float32 [1, H, W, C], thin lines at -1 on 1. How strong an edge must be depends
        on the others, so a pale image has as many lines as a strong one.
    """
    grey = image[0].mean(axis=-1)
    lines = feature.canny(
        grey, _SKETCH_BLUR, _SKETCH_WEAK, _SKETCH_STRONG, use_quantiles=True
    )
    # Where most of an image is flat, what is weak among its gradients is nothing.
    blurred = filters.gaussian(grey, _SKETCH_BLUR, mode="nearest", preserve_range=True)
    lines &= filters.sobel(blurred) > _SKETCH_ROUNDING
    drawn = np.where(lines, np.float32(-1), np.float32(1))
    return np.repeat(drawn[np.newaxis, :, :, np.newaxis], image.shape[-1], axis=-1)


def _deviations(singan: SinGAN, walk: Walk, scales: range) -> Iterator[list[tf.Tensor]]:
    """Noise minus z* of each of the scales, frame by frame."""

    def draw(frame, scale):
        seeds = noise.derive_seeds(walk.seed, frame, 1)
        return singan.stages[scale].noise(seeds, scale, *singan.sizes[scale])

    newer, older, fresh = _walk_matrix(walk)

    def move(state, frame):
        return [
            (newer * y + older * before + fresh * draw(frame, scale), y)
            for scale, (y, before) in zip(scales, state)
        ]

    still = [tf.zeros_like(draw(0, scale)) for scale in scales]
    state = [(y, y) for y in still]
    if walk.loop:
        for frame in range(1, walk.frames + 1):
            state = move(state, frame)
        state = [_closed(pair, walk) for pair in state]
    yield [y for y, _ in state]
    for frame in range(1, walk.frames):
        state = move(state, frame)
        yield [y for y, _ in state]


def _walk_matrix(walk: Walk) -> tuple[float, float, float]:
    """What y_{t-1}, y_{t-2} and n_t count in y_t."""
    kept = 1 - walk.alpha
    return kept * (1 + walk.beta), -kept * walk.beta, kept * (1 - walk.beta)


def _closed(response, walk: Walk) -> tuple[tf.Tensor, tf.Tensor]:
    """The pair from which the walk returns to itself; see `animate`."""
    newer, older, _ = _walk_matrix(walk)
    step = np.array([[newer, older], [1.0, 0.0]])
    around = np.linalg.inv(np.eye(2) - np.linalg.matrix_power(step, walk.frames))
    y, before = response
    return tuple(row[0] * y + row[1] * before for row in around)


def _apply(stage, noise_map: tf.Tensor, image: tf.Tensor, size) -> tf.Tensor:
    return _clip(stage(noise_map, bring_up(image, size)))


def _clip(image: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(image, -1.0, 1.0)
