"""The pictures that training leaves in the run folder."""

import logging

import numpy as np
import tensorflow as tf

from singan_tf import images
from singan_tf.model.singan import SinGAN
from singan_tf.runs.folder import RunFolder

logger = logging.getLogger(__name__)

_SHEET_SAMPLES = 11


def write_pictures(
    singan: SinGAN, scale: int, seed: int, run: RunFolder
) -> tuple[tf.Tensor, tf.Tensor]:
    """Writes a fake and the reconstruction of a scale, and returns them.

    Args:
        singan: The pyramid up to the scale.
        scale: The scale.
        seed: Of the fake.
        run: Where the run is kept.

    Returns:
        Two float32 [1, H, W, C] in [-1, 1].
    """
    fake, reconstruction = singan.sample([seed]), singan.reconstruct()
    images.write(run.fake(scale), fake.numpy())
    images.write(run.reconstruction(scale), reconstruction.numpy())
    return fake, reconstruction


def draw_samples(singan: SinGAN, seed: int, count: int) -> dict[int, np.ndarray]:
    """Samples of the photograph's size, to the last bit those of the sample command.

    Args:
        singan: The trained pyramid.
        seed: Of the first sample; the others' count on from there.
        count: How many.

    Returns:
        float32 [1, H, W, C] in [-1, 1] by seed.
    """
    sample = singan.sampler()
    return {
        number: sample([number], 0, *singan.sizes[-1], 1.0).numpy()
        for number in range(seed, seed + count)
    }


def write_samples(
    singan: SinGAN, real: tf.Tensor, seed: int, run: RunFolder
) -> dict[int, np.ndarray]:
    """Leaves a contact sheet: the photograph, then the samples of the first seeds.

    Args:
        singan: The trained pyramid.
        real: The photograph at the finest scale, float32 [1, H, W, C] in [-1, 1].
        seed: Of the first sample; the others' count on from there.
        run: Where the run is kept.

    Returns:
        The samples by seed, float32 [1, H, W, C] in [-1, 1].
    """
    logger.info("Drawing %d samples.", _SHEET_SAMPLES)
    samples = draw_samples(singan, seed, _SHEET_SAMPLES)
    captions = ["photograph", *(f"seed {number}" for number in samples)]
    sheet = images.contact_sheet([real.numpy(), *samples.values()], captions)
    images.write(run.samples, sheet)
    return samples
