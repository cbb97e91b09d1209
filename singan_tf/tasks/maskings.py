"""How each command that blends in treats its mask; needs no TensorFlow."""

from typing import NamedTuple


class Masking(NamedTuple):
    """What becomes of a mask and of what it covers.

    Attributes:
        radius: The radius in pixels of the disk that widens it; see
            `masks.soften_mask`.
        sigma: The sigma in pixels of the blur. With both 0 the mask is used as it is,
            greys included; otherwise it is cut at half before.
        fill: Whether it is a hole, to be filled from the pixels around it.
    """

    radius: int
    sigma: float
    fill: bool


# Of each command, if nothing else is asked for.
MASKINGS = {
    "edit": Masking(20, 5.0, fill=False),
    "harmonize": Masking(7, 5.0, fill=False),
    # A blur narrow beside the radius: next to nothing of the fill shows through.
    "inpaint": Masking(7, 3.0, fill=True),
}
