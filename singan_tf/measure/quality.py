"""How blurred an image is and how close to the truth."""

from typing import Optional

import numpy as np
from skimage import measure, metrics


def quality(
    image: np.ndarray, reference: Optional[np.ndarray]
) -> dict[str, Optional[float]]:
    """How blurred an image is and how close to the truth, by scikit-image.

    Args:
        image: float32 [1, H, W, C] in [-1, 1].
        reference: The truth, likewise, with sides of at least 7; None if not known.

    Returns:
        "blur" of the mean over colours, 0 to 1 (Crete et al., The blur effect,
        2007); with a reference "psnr" in decibels, None if the two are equal, and
        "ssim".
    """
    found = {"blur": float(measure.blur_effect(image[0].mean(axis=-1)))}
    if reference is None:
        return found
    found["psnr"] = None
    if not np.array_equal(image, reference):
        psnr = metrics.peak_signal_noise_ratio(reference, image, data_range=2)
        found["psnr"] = float(psnr)
    ssim = metrics.structural_similarity(
        reference[0], image[0], data_range=2, channel_axis=-1
    )
    return {**found, "ssim": float(ssim)}


def quality_text(found: dict[str, Optional[float]]) -> str:
    """What `quality` found, in words."""
    parts = [f"blur {found['blur']:.3f}"]
    if "psnr" in found:
        psnr = found["psnr"]
        parts.append("equal" if psnr is None else f"PSNR {psnr:.2f} dB")
        parts.append(f"SSIM {found['ssim']:.3f}")
    return ", ".join(parts)
