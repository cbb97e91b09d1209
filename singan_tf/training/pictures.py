"""The pictures that training leaves in the run folder."""

import logging

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


def write_samples(singan: SinGAN, real: tf.Tensor, seed: int, run: RunFolder) -> None:
    """Leaves a contact sheet: the photograph, then random samples.

    Args:
        singan: The trained pyramid.
        real: The photograph at the finest scale, float32 [1, H, W, C] in [-1, 1].
        seed: Of the first sample; the others' count on from there.
        run: Where the run is kept.
    """
    logger.info("Drawing %d samples.", _SHEET_SAMPLES)
    sheet, captions = [real.numpy()], ["photograph"]
    for index in range(_SHEET_SAMPLES):
        sheet.append(singan.sample([seed + index]).numpy())
        captions.append(f"seed {seed + index}")
    images.write(run.samples, images.contact_sheet(sheet, captions))
