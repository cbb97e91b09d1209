"""The size of what a command draws: flags in pixels or as multiples."""

import math

from absl import flags

from singan_tf import config as config_lib
from singan_tf.errors import UsageError

NAMES = ("height", "width", "scale_h", "scale_v")


def define_size(values: flags.FlagValues, what: str) -> None:
    """Defines --height and --width, and --scale_v and --scale_h in place of them.

    Args:
        values: Where they are defined.
        what: What has that size, such as "a sample".
    """
    for side in ("height", "width"):
        flags.DEFINE_integer(
            side,
            None,
            f"The {side} of {what} in pixels; by default the photograph's, or what "
            "keeps its aspect ratio.",
            1,
            config_lib.MAX_PIXELS,
            flag_values=values,
        )
    for flag, side in (("scale_h", "width"), ("scale_v", "height")):
        flags.DEFINE_float(
            flag,
            None,
            f"The {side} of {what} as a multiple of the photograph's, in place of "
            "--height and --width.",
            0,
            config_lib.MAX_PIXELS,
            flag_values=values,
        )


def output_size(
    values: flags.FlagValues, sizes: list[tuple[int, int]], proportional: bool = True
) -> tuple[int, int]:
    """The size that was asked for.

    Args:
        values: With the flags of `define_size`.
        sizes: (height, width) of each scale of the run.
        proportional: Whether one side alone sets the other, too, by the photograph's
            aspect ratio; otherwise that one stays the photograph's.

    Returns:
        (height, width) in pixels.

    Raises:
        UsageError: if it was given both ways, or is too small or too large.
    """
    full_height, full_width = sizes[-1]
    height, width = values.height, values.width
    if values.scale_h is not None or values.scale_v is not None:
        if height or width:
            raise UsageError(
                "--height and --width in pixels, or --scale_h and --scale_v as "
                "multiples of the photograph's: choose one way."
            )
        height, width = (
            round(full * (1 if scale is None else scale))
            for full, scale in (
                (full_height, values.scale_v),
                (full_width, values.scale_h),
            )
        )
    if not proportional:
        height = full_height if height is None else height
        width = full_width if width is None else width
    if height is None:
        height = round(full_height * width / full_width) if width else full_height
    if width is None:
        width = round(full_width * height / full_height)
    _check(height, width, sizes)
    return height, width


def _check(height: int, width: int, sizes: list[tuple[int, int]]) -> None:
    """Refuses what is too small or too large to draw."""
    from singan_tf import images
    from singan_tf.tasks import inputs

    full_height, full_width = sizes[-1]
    for name, multiple, side, full, coarsest in (
        ("height", "scale_v", height, full_height, sizes[0][0]),
        ("width", "scale_h", width, full_width, sizes[0][1]),
    ):
        least = inputs.least_side(full, coarsest)
        if side < least:
            # Rounded up: at least as much as is asked for.
            least_multiple = math.ceil(100 * least / full) / 100
            raise UsageError(
                f"--{name}={side} must be at least {least} for this run (--{multiple} "
                f"at least {least_multiple:g})."
            )
    if height * width > images.MAX_PIXELS:
        raise UsageError(
            f"--height={height} x --width={width} must be at most "
            f"{images.MAX_PIXELS // 10**6} megapixels; choose a smaller size, or a "
            "smaller --scale_v or --scale_h."
        )
