"""Harmonization, editing and inpainting: an image, and the mask where it may change.

All three redraw an image and lay the result over it; they differ in what the mask is
made wider by, and in whether what it covers is a hole.
"""

from typing import Optional

import numpy as np

from singan_tf import images
from singan_tf.errors import UserError
from singan_tf.tasks import inpainting, inputs, masks
from singan_tf.tasks.maskings import Masking
from singan_tf.tasks.task import Task


def read_masked(
    task: Task,
    name: Optional[str],
    mask_name: str,
    keep_size: bool,
    masking: Masking,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads an image and its mask, and fills the hole if it is one.

    All that looks at thin things happens at the picture's own size: only then are both
    brought to the size that the run works at, the mask so that whatever it touches is
    inside.

    Args:
        task: The opened task.
        name: As for `inputs.read_input`; None for the run's photograph.
        mask_name: As for `masks.read_mask`.
        keep_size: As for `inputs.read_input`.
        masking: What becomes of the mask.

    Returns:
        The image, float32 [1, H, W, C] in [-1, 1], and the softened mask, float32
        [H, W] in [0, 1].

    Raises:
        UserError: as they raise, or if a hole is the whole image.
    """
    if name is None:
        image = task.photograph
        size = image.shape[1:3]
    else:
        path = images.resolve(name)
        image = images.read(path, task.singan.channels)
        size = inputs.settle_size(task, path, image.shape[1:3], keep_size)
    exact = masking.radius == masking.sigma == 0
    read = masks.read_mask(task, mask_name, exact)
    mask = masks.resize_mask(read, *size)
    if masking.fill:
        hole = masks.resize_mask(read, *image.shape[1:3])
        if hole.all():
            raise UserError(
                f"The mask {mask_name} covers the whole image, which leaves nothing to "
                "fill it from; leave some of the image out of it."
            )
        scales = np.divide(size, image.shape[1:3])
        image = inpainting.fill_smeared_hole(image, hole, masking.radius / max(scales))
    masks.note_share(task, images.resolve(mask_name).name, read.shape, mask)
    softened = masks.soften_mask(mask, masking.radius, masking.sigma)
    return inputs.brought_to(image, size), softened
