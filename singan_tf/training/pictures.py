"""The pictures that training leaves in the run folder."""

import logging
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from singan_tf import images
from singan_tf.model.singan import SinGAN
from singan_tf.runs.folder import RunFolder
from singan_tf.runs.together import of_several

logger = logging.getLogger(__name__)

_SHEET_SAMPLES = 11


def write_pictures(
    singan: SinGAN, scale: int, seed: int, run: RunFolder
) -> tuple[tf.Tensor, tf.Tensor]:
    """Writes a fake and the reconstructions of a scale, and returns one of each.

    Args:
        singan: The pyramid up to the scale.
        scale: The scale.
        seed: Of the fake.
        run: Where the run is kept.

    Returns:
        Two float32 [1, H, W, C] in [-1, 1]; the reconstruction is that of the first
        photograph.
    """
    fake = singan.sample([seed])
    images.write(run.fake(scale), fake.numpy())
    reconstructions = [each.reconstruct() for each in singan.each()]
    for photograph, reconstruction in enumerate(reconstructions):
        path = run.reconstruction(scale, photograph)
        images.write(path, reconstruction.numpy())
    return fake, reconstructions[0]


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
    singan: SinGAN, reals: Sequence[tf.Tensor], seed: int, run: RunFolder
) -> dict[int, np.ndarray]:
    """Leaves a contact sheet: the photographs, then the samples of the first seeds.

    Args:
        singan: The trained pyramid.
        reals: The photographs at the finest scale, each float32 [1, H, W, C] in
            [-1, 1].
        seed: Of the first sample; the others' count on from there.
        run: Where the run is kept.

    Returns:
        The samples by seed, float32 [1, H, W, C] in [-1, 1].
    """
    logger.info("Drawing %d samples.", _SHEET_SAMPLES)
    samples = draw_samples(singan, seed, _SHEET_SAMPLES)
    captions = [of_several("photograph", n) for n in range(len(reals))]
    captions += [f"seed {number}" for number in samples]
    shown = [*(real.numpy() for real in reals), *samples.values()]
    sheet = images.contact_sheet(shown, captions)
    images.write(run.samples, sheet)
    return samples
