"""The seeds of everything that training draws, and what a step has drawn.

Every draw of a run has a number of its own, made of (scale, step, update); its seeds
are a pure function of that number and of the run's seed. So nothing about random
numbers has to be saved, and a resumed run draws what an uninterrupted one would.
"""

from typing import NamedTuple, Optional, Union

import tensorflow as tf

from singan_tf.config import TrainingConfig
from singan_tf.model import noise

# Places in the counter of draws above those of a step's updates, of which there are at
# most a hundred.
_PHOTOGRAPH_DRAW = 253
_RECONSTRUCTION_DRAW = 254
_POOL_DRAW = 255


class Drawn(NamedTuple):
    """What one replica sees in an update, B samples of it.

    Attributes:
        reals: The photograph, float32 [B, H, W, C] in [-1, 1], or crops of it: by the
            noise stream that says where they lie.
        others: The other photographs, or crops of them, likewise, in lists; only what
            the adversary wants to see.
        fake_inputs: What the generator makes fakes of: (noisy previous, previous),
            padded, each float32 [B, H + 10, W + 10, C].
        reconstruction_inputs: What it makes the photograph of, likewise.
        seeds: Of the samples, int64 [B].
        insides: What of `reals` counts, float32 [B, H, W, 1] of 0 and 1; None for all.
        other_insides: What of `others` counts, likewise.
        padded_inside: What counts of `reconstruction_inputs`, float32
            [B, H + 10, W + 10, 1]; None for all.
    """

    reals: dict[int, tf.Tensor]
    others: dict[int, list[tf.Tensor]]
    fake_inputs: tuple[tf.Tensor, tf.Tensor]
    reconstruction_inputs: list[tf.Tensor]
    seeds: tf.Tensor
    insides: dict[int, Optional[tf.Tensor]]
    other_insides: dict[int, list[Optional[tf.Tensor]]]
    padded_inside: Optional[tf.Tensor]


def update_seeds(
    seed: int, scale: int, step: tf.Tensor, update: tf.Tensor, count: int
) -> tf.Tensor:
    """The seeds of the samples of one update, over all replicas.

    Args:
        seed: The run's.
        scale: The scale that is trained.
        step: The step's number, a scalar int64.
        update: The number of the draw in the step, a scalar int64.
        count: The number of samples.

    Returns:
        int64 [count].
    """
    return noise.derive_seeds(seed, _number(scale, step, update), count)


def photograph_of(seed: int, scale: int, step: int, count: int) -> int:
    """Which of the photographs a step takes, from 0 to below `count`.

    Args:
        seed: The run's.
        scale: The scale that is trained.
        step: The step's number.
        count: How many photographs there are.
    """
    if count == 1:
        return 0
    number = _number(scale, tf.constant(step, tf.int64), _PHOTOGRAPH_DRAW)
    return int(noise.derive_seeds(seed, number, 1)[0]) % count


def pool_seeds(seed: int, count: int, photograph: int = 0) -> tf.Tensor:
    """The seeds of samples that are drawn once for a run, int64 [count].

    Args:
        seed: The run's.
        count: The number of samples.
        photograph: Number of the photograph whose size they have.
    """
    number = _number(0, tf.constant(photograph, tf.int64), _POOL_DRAW)
    return noise.derive_seeds(seed, number, count)


def reconstruction_seed(
    config: TrainingConfig, step: Union[int, tf.Tensor]
) -> tf.Tensor:
    """The seed of z* at a step of scale 0, by `config.reconstruction_noise`.

    Returns:
        A scalar int64.
    """
    drawn_at = step if config.reconstruction_noise == "redrawn" else 0
    number = _number(0, tf.cast(drawn_at, tf.int64), _RECONSTRUCTION_DRAW)
    return noise.derive_seeds(config.seed, number, 1)[0]


def _number(scale: int, step: tf.Tensor, update: Union[int, tf.Tensor]) -> tf.Tensor:
    """The number of a draw, a scalar int64; there are 256 in a step."""
    return (scale * 2**32 + step) * 2**8 + update
