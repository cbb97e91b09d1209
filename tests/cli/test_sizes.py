"""What sizes commands draw: what is refused says what would be taken."""

import re

import pytest
from absl import flags

from singan_tf.cli import command_line, sizes
from singan_tf.errors import UsageError


def asked(full, coarsest, *arguments, proportional=True):
    """The size that flags ask of a run, of these sizes at its ends."""
    values = flags.FlagValues()
    sizes.define_size(values, "a sample")
    command_line.parse(values, ["main.py", *arguments])
    return sizes.output_size(values, [coarsest, full], proportional)


@pytest.mark.parametrize("full", range(60, 251))
def test_the_least_multiple_that_is_named_is_taken(full):
    with pytest.raises(UsageError) as refused:
        asked((full, 250), (25, 33), "--scale_v=0.01")
    multiple = re.search(r"--scale_v at least ([\d.]+)\)", str(refused.value))[1]
    side = re.search(r"must be at least (\d+) ", str(refused.value))[1]
    height, width = asked((full, 250), (25, 33), f"--scale_v={multiple}")
    assert width == 250 and int(side) <= height <= int(side) + full // 100 + 1


@pytest.mark.parametrize("proportional", [True, False])
@pytest.mark.parametrize("multiple", ["0", "0.001"])
def test_a_multiple_that_leaves_nothing_is_not_the_photographs_side(
    proportional, multiple
):
    with pytest.raises(UsageError, match="--width=0 must be at least"):
        asked((188, 250), (25, 33), f"--scale_h={multiple}", proportional=proportional)


def test_a_side_alone_keeps_the_aspect_ratio_or_the_other_side():
    assert asked((100, 200), (25, 50), "--width=400") == (200, 400)
    assert asked((100, 200), (25, 50), "--width=400", proportional=False) == (100, 400)
    assert asked((100, 200), (25, 50)) == (100, 200)
