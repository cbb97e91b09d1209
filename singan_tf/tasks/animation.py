"""Animation from one photograph: a walk through noise space, frame by frame."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from singan_tf.model import noise
from singan_tf.model.singan import SinGAN, bring_up


class Walk(NamedTuple):
    """How the noise of an animation moves (SinGAN, supplementary material).

    Attributes:
        start_scale: Scales below it stand still and show the photograph.
        alpha: Pull back to z*, 0 to 1: the higher, the closer to the photograph.
        beta: Inertia, 0 to 1: the higher, the smoother and slower.
        frames: The number of frames.
        loop: Whether the last frame flows into the first.
        seed: The seed of the walk.
    """

    start_scale: int
    alpha: float
    beta: float
    frames: int
    loop: bool
    seed: int


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
                # The walk is not to leap from one photograph to another.
                noise_map += singan.reconstruction_noise
                noise_map = singan.stages[0].of_first(noise_map)
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
    return tf.clip_by_value(stage(noise_map, bring_up(image, size)), -1.0, 1.0)
