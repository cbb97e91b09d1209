"""How blurred an image is and how close to the truth."""

from typing import Optional

import numpy as np
from skimage import measure, metrics

from singan_tf.inside import whole

# Of the windows that scikit-image compares.
_SSIM_SIDE = 7


def quality(
    image: np.ndarray,
    reference: Optional[np.ndarray],
    inside: Optional[np.ndarray] = None,
) -> dict[str, Optional[float]]:
    """How blurred an image is and how close to the truth, by scikit-image.

    Args:
        image: float32 [1, H, W, C] in [-1, 1].
        reference: The truth, likewise, with sides of at least 7; None if not known.
        inside: What counts for PSNR and SSIM, bool [H, W]: pixels, and windows that lie
            inside as a whole. None for all.

    Returns:
        "blur" of the mean over colours, 0 to 1 (Crete et al., The blur effect,
        2007); with a reference "psnr" in decibels, None if the two are equal, and
        "ssim", None if no window lies inside.
    """
    found: dict[str, Optional[float]] = {
        "blur": float(measure.blur_effect(image[0].mean(axis=-1)))
    }
    if reference is None:
        return found
    shown, truth = image, reference
    if inside is not None:
        shown, truth = image[0][inside], reference[0][inside]
    found["psnr"] = None
    if not np.array_equal(shown, truth):
        psnr = metrics.peak_signal_noise_ratio(truth, shown, data_range=2)
        found["psnr"] = float(psnr)
    mean, everywhere = metrics.structural_similarity(
        reference[0], image[0], data_range=2, channel_axis=-1, full=True
    )
    if inside is None:
        return {**found, "ssim": float(mean)}
    windows = whole(inside, _SSIM_SIDE)
    margin = _SSIM_SIDE // 2
    values = everywhere[margin:-margin, margin:-margin][windows]
    return {**found, "ssim": float(values.mean()) if windows.any() else None}


def quality_text(found: dict[str, Optional[float]]) -> str:
    """What `quality` found, in words."""
    parts = [f"blur {found['blur']:.3f}"]
    if "psnr" in found:
        psnr = found["psnr"]
        parts.append("equal" if psnr is None else f"PSNR {psnr:.2f} dB")
        parts.append(f"SSIM {found['ssim']:.3f}")
    return ", ".join(parts)
