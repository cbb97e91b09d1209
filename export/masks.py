"""Mask files as a server takes them, and what it would take for something else."""

import io
from typing import Optional

import numpy as np
from PIL import Image

# A mask below it, of 255, shows at most a sixteenth of what is redrawn.
_FAINT = 16


def fault(file: bytes) -> Optional[str]:
    """Looks at a mask file for what a server would take for something else.

    Args:
        file: A PNG file.

    Returns:
        What is wrong and the way out, the rest of a sentence that begins with the
        file; None if nothing is, or if it cannot be read, which a server tells.
    """
    try:
        with Image.open(io.BytesIO(file)) as picture:
            if picture.mode.startswith("I"):
                # 16 bits, of which a server takes the upper 8.
                levels, alpha = np.asarray(picture) >> 8, np.array(255, np.uint8)
            else:
                levels = np.asarray(picture.convert("RGBA").convert("L"))
                alpha = np.asarray(picture.convert("RGBA"))[..., 3]
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    if alpha.min() < 255:
        return (
            "is transparent in parts, which a server takes for white; save it without "
            "transparency, white where the picture is redrawn and black elsewhere"
        )
    if levels.max() < _FAINT:
        return (
            f"is as good as empty: its brightest pixel is {levels.max()} of 255, and "
            "only where it is 255 the picture is redrawn in full; save it with white "
            "there and black elsewhere"
        )
    return None
