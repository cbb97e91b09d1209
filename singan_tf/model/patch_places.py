"""Which patches of a photograph may be used, where only a part of it is inside.

A patch that touches the outside is never found: whatever leads to it leads to the
nearest patch that does not. Tables say which that is, one for each size at which
patches are looked for (`patch_voting` halves images); they are made once, and a stage
keeps them.
"""

from collections.abc import Sequence

import numpy as np

from singan_tf import inside as inside_lib
from singan_tf.model.patch_matching import PATCH_SIZE

# From the corner of a patch at half the size to that of the patch in its middle.
_TO_MIDDLE = PATCH_SIZE // 2


def tables(insides: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    """The nearest patch inside, for every patch of photographs.

    At half the size a patch is inside if one in its middle at full size is: what is
    found there only leads to where patches are taken from.

    Args:
        insides: What of each photograph is inside, bool [H, W].
        count: The number of sizes, each half of the one before.

    Returns:
        For each size, from the full one on, int64 [K]: numbers of patches, one
        photograph after the other, row by row. Patches lead to those of the same
        photograph.

    Raises:
        ValueError: if no patch of a photograph lies inside.
    """
    found = []
    of_each = [inside_lib.whole(inside, PATCH_SIZE) for inside in insides]
    if not all(allowed.any() for allowed in of_each):
        raise ValueError("no patch lies inside")
    for _ in range(count):
        table: list[np.ndarray] = []
        start = 0
        for allowed in of_each:
            rows, columns = inside_lib.nearest(allowed)
            table.append((start + rows * allowed.shape[1] + columns).ravel())
            start += allowed.size
        found.append(np.concatenate(table).astype(np.int64))
        of_each = [_halved(allowed) for allowed in of_each]
    return found


def counts(sizes: Sequence[tuple[int, int]], count: int) -> list[int]:
    """The lengths of `tables` of photographs of (height, width)."""
    over = PATCH_SIZE - 1
    return [
        sum(((h >> halvings) - over) * ((w >> halvings) - over) for h, w in sizes)
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
