"""Which patches of a photograph may be used, where only a part of it is inside.

A patch that touches the outside is never found: whatever leads to it leads to the
nearest patch that does not. Tables say which that is, one for each size at which
patches are looked for (`patch_voting` halves images); they are made once, and a stage
keeps them.
"""

import numpy as np

from singan_tf import inside as inside_lib
from singan_tf.model.patch_matching import PATCH_SIZE

# From the corner of a patch at half the size to that of the patch in its middle.
_TO_MIDDLE = PATCH_SIZE // 2


def tables(inside: np.ndarray, count: int) -> list[np.ndarray]:
    """The nearest patch inside, for every patch.

    At half the size a patch is inside if one in its middle at full size is: what is
    found there only leads to where patches are taken from.

    Args:
        inside: bool [H, W].
        count: The number of sizes, each half of the one before.

    Returns:
        int64 [h - 6, w - 6] for each size, from the full one on: numbers of patches,
        row by row.

    Raises:
        ValueError: if no patch lies inside.
    """
    allowed = inside_lib.whole(inside, PATCH_SIZE)
    if not allowed.any():
        raise ValueError("no patch lies inside")
    found = []
    for _ in range(count):
        rows, columns = inside_lib.nearest(allowed)
        found.append((rows * allowed.shape[1] + columns).astype(np.int64))
        allowed = _halved(allowed)
    return found


def sizes(size: tuple[int, int], count: int) -> list[tuple[int, int]]:
    """The sizes of `tables` of an image of (height, width)."""
    over = PATCH_SIZE - 1
    return [
        ((size[0] >> halvings) - over, (size[1] >> halvings) - over)
        for halvings in range(count)
    ]


def _halved(allowed: np.ndarray) -> np.ndarray:
    """The patches at half the size that have an allowed one in their middle."""
    over = PATCH_SIZE - 1
    shape = [(side + over) // 2 - over for side in allowed.shape]
    halved = np.zeros(np.maximum(shape, 0), bool)
    if not halved.size:
        return halved
    # At the borders the nearest one, so that none is lost.
    places = (
        np.clip((corners - _TO_MIDDLE) // 2, 0, side - 1)
        for corners, side in zip(np.nonzero(allowed), shape)
    )
    halved[tuple(places)] = True
    return halved
