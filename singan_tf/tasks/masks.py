"""Masks of tasks: read, resized, softened, and images blended."""

from collections.abc import Sequence

import numpy as np
from skimage import filters, morphology

from singan_tf import images
from singan_tf.masks import read
from singan_tf.tasks.inputs import size_text
from singan_tf.tasks.task import Task

# A blur reaches so many sigmas, then is exactly zero.
_BLUR_REACH = 4.0


def read_mask(task: Task, name: str, exact: bool) -> np.ndarray:
    """Reads a mask as people's tools leave them, and notes how it was taken.

    What is inside is told by `singan_tf.masks.read`.

    Args:
        task: The opened task.
        name: A path of any image.
        exact: Whether greys stay, rather than be cut at half.

    Returns:
        float32 [H, W] in [0, 1], at the file's size; not all 0.

    Raises:
        UserError: if it cannot be read, or is empty.
    """
    path = images.resolve(name)
    mask, greys = read(path, task.note)
    if exact:
        with_greys = ", its greys included" if greys else ""
        task.note(
            f"The mask {path.name} is taken exactly as it is, neither widened nor "
            f"blurred{with_greys}."
        )
        return mask
    if greys:
        task.note(
            f"The greys of the mask {path.name} were cut at half (mask_radius=0 and "
            "mask_sigma=0 take them as they are)."
        )
    return (mask > 0.5).astype(np.float32)


def note_share(task: Task, name: str, size: Sequence[int], mask: np.ndarray) -> None:
    """Notes if a mask was resized, and always how much is inside.

    Args:
        task: The opened task.
        name: The mask's file.
        size: The (height, width) that it had.
        mask: float32 [H, W] in [0, 1], at the image's size.
    """
    if mask.shape != tuple(size):
        task.note(
            f"The mask {name} was resized from {size_text(size)} to the image's "
            f"{size_text(mask.shape)} pixels; whatever it touches is inside."
        )
    if (mask == 1).all():
        task.note(
            f"The mask {name} is full: the whole image is inside (outside is what is "
            "black or transparent)."
        )
        return
    share = float(mask.mean(dtype=np.float64))
    text = f"{100 * share:.1f}%" if share >= 0.001 else "less than 0.1%"
    wrong_side = "; invert it if that is the wrong part" if share > 0.5 else ""
    task.note(f"{text} of the image is inside the mask {name}{wrong_side}.")


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
