"""Times one training step against each adversary at one size and width.

    python tests/benchmarks/adversaries.py [--height=188 --width=250 --channels=128]

Each adversary runs in a process of its own, so that its peak memory is its own. The
critic's step, the paper's recipe on the full frame, is timed before and after the
others, because the pace of a shared machine changes; ratios are to the mean of both.
Prints a Markdown table.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", ".."))


def peak_mib() -> float:
    """Of this process, so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(adversary: str, height: int, width: int, channels: int, steps: int) -> dict:
    """Times steps at one size, with no coarser scales."""
    import tensorflow as tf

    from singan_tf import config
    from singan_tf.model import singan
    from singan_tf.training import distribution, step
    from singan_tf.training.players import make_players

    settings = config.from_settings(
        {"adversary": adversary, "width": channels, "max_width": max(channels, 128)}
    )
    strategy = distribution.make_strategy("one_device")
    model = singan.SinGAN([(height, width)], 3)
    with strategy.scope():
        players = make_players(settings, 0)
    model = model.with_stage(players.stage)
    # Noise has no patches near each other, which no adversary's time depends on.
    real = tf.random.stateless_uniform([1, height, width, 3], [1, 2], -1, 1)
    previous = tf.zeros_like(real)
    before = peak_mib()
    scale_step = step.ScaleStep(settings, strategy, model, players, real, previous)
    one_step = scale_step.compiled()
    seconds = []
    for index in range(steps + 2):
        start = time.perf_counter()
        one_step(tf.constant(index, tf.int64)).numpy()
        seconds.append(time.perf_counter() - start)
    # The first builds the graph, the second still allocates.
    return {"seconds": seconds[2:], "before": before, "peak": peak_mib()}


def main():
    """Prints a Markdown table, or measures one adversary for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--height", type=int, default=188)
    parser.add_argument("--width", type=int, default=250)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--adversary", help=argparse.SUPPRESS)
    values = parser.parse_args()
    if values.adversary:
        print(json.dumps(measure(**vars(values))))
        return

    from singan_tf.config import ADVERSARIES

    names = [*ADVERSARIES, "critic"]
    rows = []
    for name in names:
        command = [sys.executable, __file__, *sys.argv[1:], f"--adversary={name}"]
        rows.append(json.loads(subprocess.check_output(command)))
    medians = [statistics.median(row["seconds"]) for row in rows]
    critic = (medians[0] + medians[-1]) / 2
    print(
        f"{values.height}x{values.width}, {values.channels} channels\n\n"
        "| adversary | s a step, median (min to max) | of a critic's step | peak MiB "
        "(before any step) |\n|---|---|---|---|"
    )
    for name, row, median in zip(names, rows, medians):
        print(
            f"| {name} | {median:.3g} ({min(row['seconds']):.3g} to "
            f"{max(row['seconds']):.3g}) | {median / critic:.3f} | "
            f"{row['peak']:.0f} ({row['before']:.0f}) |"
        )


if __name__ == "__main__":
    main()
