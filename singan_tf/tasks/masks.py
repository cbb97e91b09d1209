"""Masks, as people's tools leave them: read, resized, softened, and images blended."""

import pathlib

import numpy as np
from skimage import filters, morphology

from singan_tf import images
from singan_tf.errors import UserError
from singan_tf.tasks.inputs import size_text
from singan_tf.tasks.task import Task

# What JPEG leaves beside black and white, of a mask's full range.
MASK_NOISE = 16 / 255
# The highest number of a class in a mask; more than that is a brightness.
_HIGHEST_CLASS = 63
# The most colours of a mask that stand for classes, as in a palette.
_MOST_CLASSES = 256
# A blur reaches so many sigmas, then is exactly zero.
_BLUR_REACH = 4.0


def read_mask(task: Task, name: str, exact: bool) -> np.ndarray:
    """Reads a mask as people's tools leave them, and notes how it was taken.

    Where a file has transparency, what is painted is inside, whatever its colour;
    otherwise what is bright in any channel. The brightest level of the file counts as
    1, so a mask of 0 and 1 is as good as one of 0 and 255. In a mask of classes, small
    whole numbers or a palette's colours, all but black is inside.

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
    pixels, lossy = images.read_channels(path)
    levels, void = _levels(task, path, pixels, lossy)
    brightest = float(levels.max())
    _refuse_empty(path, brightest, void, lossy)
    mask = levels / np.float32(brightest)
    tolerance = MASK_NOISE if lossy else 0
    if brightest < 1 - tolerance:
        task.note(
            f"The brightest level of the mask {path.name}, {100 * brightest:.4g}% of "
            "what its format holds, counts as 100%."
        )
    greys = ((mask > tolerance) & (mask < 1 - tolerance)).any()
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


def _levels(
    task: Task, path: pathlib.Path, pixels: np.ndarray, lossy: bool
) -> tuple[np.ndarray, str]:
    """How much each pixel of a mask's file is inside, and what outside is called.

    Args:
        task: The opened task.
        path: The file, for notes.
        pixels: float32 [H, W, 1 to 4] in [0, 1], alpha last.
        lossy: Whether the file's format loses levels.

    Returns:
        float32 [H, W] in [0, 1], and what is all 0 there, such as "black".
    """
    has_alpha = pixels.shape[-1] in (2, 4)
    colour = pixels[..., :-1] if has_alpha else pixels
    levels, void = colour.max(axis=-1), "black"
    if has_alpha and (pixels[..., -1] == 0).all():
        levels, void = pixels[..., -1], "transparent"
    elif has_alpha and np.ptp(pixels[..., -1]) > 0:
        levels, void = pixels[..., -1], "transparent"
        task.note(
            f"The mask {path.name} is transparent in parts: what is painted on it is "
            "inside, whatever its colour."
        )
    elif not lossy and _holds_classes(colour):
        levels = (levels > 0).astype(np.float32)
        task.note(
            f"The mask {path.name} holds several classes: all but black (0) is inside."
        )
    return levels, void


def _refuse_empty(path: pathlib.Path, brightest: float, void: str, lossy: bool) -> None:
    """Raises a `UserError` if nothing is inside a mask of this brightest level."""
    if brightest == 0 or (lossy and brightest < MASK_NOISE):
        found = f"all of it is {void}"
        if brightest > 0:
            found = (
                f"its brightest level is {255 * brightest:.0f} of 255, which is what "
                "compression leaves of black"
            )
        raise UserError(
            f"The mask {path} is empty: {found}. A mask is bright inside and "
            "black elsewhere, or painted on a transparent layer."
        )


def _holds_classes(colour: np.ndarray) -> bool:
    """Whether the colours of a mask name things, rather than tell how much is inside.

    Args:
        colour: float32 [H, W, 1 or 3] in [0, 1], without losses.
    """
    levels = np.unique(colour.max(axis=-1))
    levels = levels[levels > 0].astype(np.float64)
    # The highest level is a border's, not a class's, as in PASCAL VOC.
    classes = levels[levels < 1]
    for depth in (8, 16, 32) if len(levels) > 1 else ():
        numbers = classes * (2**depth - 1)
        whole = np.allclose(numbers, np.rint(numbers), rtol=0, atol=1e-3)
        if whole and numbers.max() <= _HIGHEST_CLASS:
            return True
    if colour.shape[-1] == 1:
        return False
    codes = np.rint(colour * 255).astype(np.int32) @ np.array([1 << 16, 1 << 8, 1])
    codes = np.unique(codes)
    if len(codes) > _MOST_CLASSES:
        return False
    colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)
    # Shades of one colour are a brush's; several colours are several things.
    brightness = colours.max(axis=1)
    shades = np.outer(
        brightness, colours[brightness.argmax()] / max(brightness.max(), 1)
    )
    return bool((np.abs(colours - shades) > 2.5).any())


def note_share(task: Task, name: str, size: tuple[int, int], mask: np.ndarray) -> None:
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
