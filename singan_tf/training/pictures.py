"""The pictures that training leaves in the run folder."""

import logging
import pathlib

import tensorflow as tf

from singan_tf import images
from singan_tf.model.singan import SinGAN
from singan_tf.runs import checkpoint

logger = logging.getLogger(__name__)

_SHEET_SAMPLES = 11


def write_pictures(
    singan: SinGAN, scale: int, seed: int, run_dir: pathlib.Path
) -> tuple[tf.Tensor, tf.Tensor]:
    """Writes a fake and the reconstruction of a scale, and returns them.

    Args:
        singan: The pyramid up to the scale.
        scale: The scale.
        seed: Of the fake.
        run_dir: The run folder.

    Returns:
        Two float32 [1, H, W, C] in [-1, 1].
    """
    fake, reconstruction = singan.sample([seed]), singan.reconstruct()
    folder = checkpoint.scale_dir(run_dir, scale)
    images.write(folder / "fake.png", fake.numpy())
    images.write(folder / "reconstruction.png", reconstruction.numpy())
    return fake, reconstruction


def write_samples(
    singan: SinGAN, real: tf.Tensor, seed: int, run_dir: pathlib.Path
) -> None:
    """Leaves a contact sheet: the photograph, then random samples.

    Args:
        singan: The trained pyramid.
        real: The photograph at the finest scale, float32 [1, H, W, C] in [-1, 1].
        seed: Of the first sample; the others' count on from there.
        run_dir: The run folder.
    """
    logger.info("Drawing %d samples.", _SHEET_SAMPLES)
    sheet, captions = [real.numpy()], ["photograph"]
    for index in range(_SHEET_SAMPLES):
        sheet.append(singan.sample([seed + index]).numpy())
        captions.append(f"seed {seed + index}")
    images.write(
        run_dir / checkpoint.SAMPLES_NAME, images.contact_sheet(sheet, captions)
    )
