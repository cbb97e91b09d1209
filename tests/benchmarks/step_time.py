"""Times one training step of the paper's recipe at three sizes.

    python tests/benchmarks/step_time.py

Each size runs in a process of its own, so that its peak memory is its own. Beside
milliseconds it prints the step's floating-point rate and, because machines differ,
that rate over the machine's own: a 3x3 convolution of 64 channels, forward and
backward, at 196x258, timed in the same process before and after.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", ".."))

# (scale, height, width, steps timed): the paper recipe's width grows with the scale.
CASES = ((0, 25, 34, 60), (4, 69, 92, 12), (8, 188, 250, 3))


def seconds_of(function, count: int) -> list:
    """Wall-clock seconds of each of `count` calls."""
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return seconds


def convolution_rate() -> float:
    """FLOP/s of a convolution's forward and backward pass on this machine."""
    import tensorflow as tf

    image = tf.Variable(tf.random.normal([1, 196, 258, 64]))
    kernel = tf.Variable(tf.random.normal([3, 3, 64, 64]))

    @tf.function
    def both():
        with tf.GradientTape() as tape:
            out = tf.nn.conv2d(image, kernel, 1, "VALID")
            loss = tf.reduce_sum(out)
        return tape.gradient(loss, [image, kernel])

    both()
    seconds = statistics.median(seconds_of(lambda: both()[0].numpy(), 10))
    return 3 * 2 * 9 * 64 * 64 * 194 * 256 / seconds


def pass_flops(height: int, width: int, channels: int, outputs: int) -> float:
    """Multiply-adds x 2 of one forward pass of five valid 3x3 convolutions.

    Backward to a layer's input, or to its weights, costs as much again.
    """
    layers = [(3, channels)] + [(channels, channels)] * 3 + [(channels, outputs)]
    return sum(
        2 * 9 * a * b * (height - 2 * i) * (width - 2 * i)
        for i, (a, b) in enumerate(layers, 1)
    )


def step_flops(height: int, width: int, channels: int) -> float:
    """Floating-point operations in the convolutions of one step, without warm-up.

    In passes. A critic update: the generator forward (1); the critic forward on
    real, fake and mixed (3), backward from real and fake (4), the penalty's gradient
    (1), backward through that (2) and through the mixed forward pass (2). A generator
    update: the generator forward on noise and on z* (2) and backward (4); the critic
    forward (1) and backward to its input (1).
    """
    generator = pass_flops(height + 10, width + 10, channels, 3)
    critic = pass_flops(height, width, channels, 1)
    return 3 * (generator + 12 * critic) + 3 * (6 * generator + 2 * critic)


def measure(scale: int, height: int, width: int, steps: int) -> dict:
    """Times steps at one size, with the scale's width and no coarser scales."""
    import tensorflow as tf

    from singan_tf import config
    from singan_tf.model import singan
    from singan_tf.training import distribution, step
    from singan_tf.training.players import make_players

    before = convolution_rate()
    strategy = distribution.make_strategy("one_device")
    settings = config.Config()
    model = singan.SinGAN([(height, width)], 3)
    with strategy.scope():
        players = make_players(settings, scale)
    model = model.with_stage(players.stage)
    real = tf.random.stateless_uniform([1, height, width, 3], [1, 2], -1, 1)
    previous = tf.zeros_like(real)
    scale_step = step.ScaleStep(settings, strategy, model, players, real, previous)
    compiled = scale_step.compiled()
    count = iter(range(10**6))

    def one_step():
        return compiled(tf.constant(next(count), tf.int64)).numpy()

    one_step(), one_step()
    seconds = seconds_of(one_step, steps)
    after = convolution_rate()
    channels = min(32 * 2 ** (scale // 4), 128)
    rate = step_flops(height, width, channels) / statistics.median(seconds)
    return {
        "size": f"{height}x{width}",
        "channels": channels,
        "milliseconds": [1e3 * s for s in seconds],
        "gflops": rate / 1e9,
        "convolution_gflops": [before / 1e9, after / 1e9],
        "ratio": rate / ((before + after) / 2),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main():
    """Prints a Markdown table."""
    print(
        "| size | channels | ms, median (min to max) | GFLOP/s | "
        "convolution, GFLOP/s before and after | ratio | peak MiB |"
    )
    print("|---|---|---|---|---|---|---|")
    for index in range(len(CASES)):
        command = [sys.executable, __file__, str(index)]
        row = json.loads(subprocess.check_output(command))
        times = row["milliseconds"]
        print(
            f"| {row['size']} | {row['channels']} | {statistics.median(times):.0f} "
            f"({min(times):.0f} to {max(times):.0f}) | {row['gflops']:.0f} | "
            f"{row['convolution_gflops'][0]:.0f}, {row['convolution_gflops'][1]:.0f} | "
            f"{row['ratio']:.2f} | {row['peak_mib']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(*CASES[int(sys.argv[1])])))
    else:
        main()
