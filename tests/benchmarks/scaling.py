"""Prints the arithmetic of a run: operations, memory and time, scale by scale.

    python tests/benchmarks/scaling.py WIDTH HEIGHT [any flag of train]
        [--gflops=300] [--overhead_ms=15] [--bytes=500]

No training: it counts the convolutions of a step as step_time.py does, and the
coarser scales' forward passes that draw the previous images. Scales of patches, and
whatever else a run does between its steps, are not counted. Time is operations over
the rate --gflops plus --overhead_ms a step; memory is --bytes for each channel of each
pixel of each sample. What rates and bytes are, docs/scaling.md says.
"""

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent)]

from absl import flags  # noqa: E402
from step_time import pass_flops  # noqa: E402

from singan_tf.cli import flags as shared  # noqa: E402
from singan_tf.config import settle  # noqa: E402
from singan_tf.model import networks, pyramid  # noqa: E402


def draw_flops(config, sizes, scale: int) -> float:
    """Operations of a sample of the coarser scales."""
    return sum(
        pass_flops(h + 10, w + 10, networks.scale_width(config.network, n), 3)
        for n, (h, w) in enumerate(sizes[:scale])
    )


def step_flops(config, sizes, scale: int) -> float:
    """Operations of a step's convolutions, for one sample; see step_time.step_flops."""
    training, numbers = config.training, config.training.at(scale)
    channels = networks.scale_width(config.network, scale)
    height, width = (min(numbers.crop_size or side, side) for side in sizes[scale])
    generator = pass_flops(height + 10, width + 10, channels, 3)
    critic = pass_flops(height, width, channels, 1)
    drawn = 0.0 if training.previous_pool else draw_flops(config, sizes, scale)
    if not config.adversary.has_critic(scale):
        return drawn + 6 * generator
    return numbers.critic_updates * (
        drawn + generator + 12 * critic
    ) + numbers.generator_updates * (6 * generator + 2 * critic)


def main(argv: list) -> None:
    """Prints a Markdown table."""
    values = flags.FlagValues()
    shared.define_settings(values)
    for name, default in (("gflops", 300.0), ("overhead_ms", 15.0), ("bytes", 500.0)):
        flags.DEFINE_float(name, default, "", flag_values=values)
    _, width, height = values(argv)
    shared.apply_presets(values)
    config = shared.read_config(values)
    sizes = pyramid.plan_scales(int(height), int(width), config.pyramid).sizes
    config = settle(config, sizes)
    batch = max(config.training.global_batch_size, 1)
    print("| scale | size | channels | GFLOP a step | ms a step | hours | GiB |")
    print("|---|---|---|---|---|---|---|")
    total_flops = total_hours = 0.0
    for scale, (h, w) in enumerate(sizes):
        if not config.steps_at(scale):
            continue
        channels = networks.scale_width(config.network, scale)
        flops = batch * step_flops(config, sizes, scale)
        seconds = flops / (values.gflops * 1e9) + values.overhead_ms / 1e3
        hours = seconds * config.steps_at(scale) / 3600
        crop = config.training.at(scale).crop_size
        pixels = min(crop or h, h) * min(crop or w, w)
        memory = values.bytes * batch * pixels * channels / 2**30
        total_flops += flops * config.steps_at(scale)
        total_hours += hours
        print(
            f"| {scale} | {w}x{h} | {channels} | {flops / 1e9:.3g} | "
            f"{1e3 * seconds:.3g} | {hours:.2g} | {memory:.2g} |"
        )
    print(f"\n{total_flops / 1e15:.3g} PFLOP, {total_hours:.3g} hours.")


if __name__ == "__main__":
    main(sys.argv)
