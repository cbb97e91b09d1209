"""How long the training of a run takes, and how far it has come.

Both by the arithmetic of its steps: the passes through its networks.
"""

import math
import statistics
import time
from typing import Optional

import tensorflow as tf

from singan_tf.config import Config
from singan_tf.errors import UserError
from singan_tf.model.networks import scale_width
from singan_tf.runs.folder import RunFolder, run_scales

# A step's fixed cost as if it were arithmetic, in pixels x channels^2; measured: a
# step at 25x34 and 32 channels is mostly overhead.
_OVERHEAD = 4e6
# Operations of a pass, for each pixel and each channel squared: three of its five
# convolutions have as many channels on both sides.
_OPERATIONS = 3 * 2 * 9
# Measured of steps (docs/training.md): their pace as a share of a convolution's, and
# what each takes besides its operations, in seconds.
_STEP_PACE = 0.65
_STEP_SECONDS = 0.015


def share_done(run: RunFolder, longer: Optional[Config] = None) -> float:
    """How far a run has come, from 0 to 1, by the arithmetic of its steps.

    Args:
        run: Its folder, which need not be there.
        longer: Its configuration with more steps, where it is to have these.
    """
    try:
        config, photograph = run.read()
        config = longer or config
        sizes = run_scales(config, photograph).sizes
        states = [run.state(scale) for scale in range(len(sizes))]
    except UserError:
        # It has not begun, or its own process tells what is wrong.
        return 0.0
    if run.has_ended(states) and all(
        state.step >= config.steps_at(n) for n, state in enumerate(states) if state
    ):
        return 1.0
    costs = [step_cost(config, n, size) for n, size in enumerate(sizes)]
    done = sum(cost * state.step for cost, state in zip(costs, states) if state)
    wanted = sum(cost * config.steps_at(n) for n, cost in enumerate(costs))
    # The pictures and the samples that a run ends with are still to come.
    return min(done / wanted, 0.99) if wanted else 0.0


def hours_left(
    config: Config, sizes: list[tuple[int, int]], run: Optional[RunFolder]
) -> float:
    """Roughly how long the rest of a run will take on this machine's processors.

    By the arithmetic of its steps, at the pace of a convolution that is timed here;
    what distances of patches and measurements take is not in it.

    Args:
        config: Of the run, its number of patch scales settled.
        sizes: (height, width) of each scale.
        run: Its folder, which need not be there; None from the start.
    """
    batch = max(config.training.global_batch_size, 1)
    operations = sum(
        config.steps_at(scale) * _OPERATIONS * _passes(config, scale) * pixels_channels
        for scale, pixels_channels in (
            (n, _pixels(config, n, size) * scale_width(config.network, n) ** 2)
            for n, size in enumerate(sizes)
        )
    )
    seconds = batch * operations / (_STEP_PACE * _convolution_pace())
    seconds += _STEP_SECONDS * sum(config.steps_at(n) for n in range(len(sizes)))
    done = share_done(run, config) if run else 0
    return seconds * (1 - done) / 3600


def _convolution_pace() -> float:
    """Operations in a second of a convolution with 64 channels, about 0.1 s long."""
    image = tf.zeros([1, 96, 96, 64])
    kernel = tf.zeros([3, 3, 64, 64])
    times = []
    for _ in range(20):
        started = time.perf_counter()
        tf.nn.conv2d(image, kernel, 1, "SAME").numpy()
        times.append(time.perf_counter() - started)
    return 2 * 9 * 64**2 * 96**2 / statistics.median(times)


def step_cost(config: Config, scale: int, size: tuple[int, int]) -> float:
    """The arithmetic of a step of a scale, if it is trained.

    In passes x pixels x channels^2: steps of all scales can be compared.
    """
    channels = scale_width(config.network, scale)
    work = _pixels(config, scale, size) * channels**2 + _OVERHEAD
    return _passes(config, scale) * work


def _pixels(config: Config, scale: int, size: tuple[int, int]) -> int:
    """Those of an image that a step of a scale sees."""
    crop = config.training.at(scale).crop_size
    return math.prod(min(crop or side, side) for side in size)


def _passes(config: Config, scale: int) -> int:
    """Passes of a step through a network, forwards or backwards."""
    if not config.adversary.has_critic(scale):
        return 6
    numbers = config.training.at(scale)
    # 13 in an update of the critic, and 8 in the generator's.
    return 13 * numbers.critic_updates + 8 * numbers.generator_updates
