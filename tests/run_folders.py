"""What the tests of training share: a tiny run, and what two runs have stored."""

import contextlib
import json
import pathlib
import subprocess
import sys
import textwrap
import time

import numpy as np
import tensorflow as tf

from singan_tf import config
from singan_tf import inside as inside_lib
from singan_tf.runs.display import Monitor
from singan_tf.runs.facts import Photograph, inside_sha256
from singan_tf.runs.folder import RunFolder, run_scales
from singan_tf.training import continuation, loop

TINY = {
    "min_size": 16,
    "max_size": 24,
    "num_scales": 2,
    "steps": 4,
    "width": 4,
    "critic_updates": 1,
    "generator_updates": 1,
    "log_steps": 2,
    "metric_steps": 1,
}


@contextlib.contextmanager
def graphs_as_built():
    """Few steps of a small graph take a shorter time than rewriting it would."""
    whether = "disable_meta_optimizer"
    tf.config.optimizer.set_experimental_options({whether: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({whether: False})


def train(
    photograph,
    run_dir,
    should_stop=lambda: False,
    more=0,
    inside=None,
    filled=True,
    **settings,
):
    """Trains `TINY` with some settings changed, without the command line.

    With `more` steps at the finest scale, also of a run that has ended. A list of
    photographs trains one run on all of them. Of a photograph only what is `inside`
    counts, of several a list of masks and None; the rest is filled, as usual, or not.
    """
    settings = config.from_settings({**TINY, **settings})
    several = photograph if isinstance(photograph, list) else [photograph]
    insides = inside if isinstance(inside, list) else [inside] * len(several)
    if filled:
        several = [
            each if part is None else inside_lib.fill(each, part)
            for each, part in zip(several, insides)
        ]
    facts = [
        Photograph(
            "coffee.png", *each.shape[1:3], f"{number:064d}", inside_sha256(part)
        )
        for number, (each, part) in enumerate(zip(several, insides))
    ]
    sizes = run_scales(settings, facts[0]).sizes
    finest, begun = len(sizes) - 1, None
    if more:
        settings = continuation.with_more_steps(settings, finest, more)
        begun = continuation.begun(RunFolder(run_dir), settings, finest)
    with RunFolder(run_dir).open(begun or settings, facts, overwrite=False):
        if begun:
            RunFolder(run_dir).extend(settings, finest)
        watch = Monitor(settings, sizes, RunFolder(run_dir))
        try:
            with graphs_as_built():
                return loop.train(
                    several,
                    settings,
                    RunFolder(run_dir),
                    watch,
                    should_stop,
                    insides=insides,
                ).singan
        finally:
            watch.close()


def weights(singan, scale=0):
    return singan.stages[scale].generator.get_weights()


def measured(run_dir, scale=0):
    """The lines of a scale's table of measurements."""
    return (run_dir / f"scales/{scale:02d}/metrics.csv").read_text().split()


def stored(run_dir):
    """Every tensor of every checkpoint of a run, and its loss tables."""
    values = {}
    for state in sorted(run_dir.glob("scales/*/state.json")):
        scale = int(state.parent.name)
        prefix = state.parent / RunFolder(run_dir).state(scale).checkpoint
        reader = tf.train.load_checkpoint(str(prefix))
        for name in reader.get_variable_to_shape_map():
            if name != "_CHECKPOINTABLE_OBJECT_GRAPH":
                values[scale, name] = reader.get_tensor(name)
        values[scale, "losses"] = (state.parent / "losses.csv").read_text()
    return values


def assert_same_run(first, second):
    first, second = stored(first), stored(second)
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=str(name))


def assert_a_kill_changes_nothing(command, folder):
    """Runs a command that trains two scales, whole and killed in the second."""
    for name in ("whole", "killed"):
        run_dir = folder / name
        process = subprocess.Popen([*command, f"--run_dir={run_dir}"])
        if name == "killed":
            while not (run_dir / "scales" / "01" / "state.json").exists():
                assert process.poll() is None
                time.sleep(0.02)
            process.kill()
            assert process.wait() != 0
            process = subprocess.Popen([*command, f"--run_dir={run_dir}"])
        assert process.wait() == 0
    assert_same_run(folder / "whole", folder / "killed")


def assert_two_devices_do_as_one(folder, settings, given):
    """Trains on one device and on two, which need a process of their own.

    Args:
        folder: Where.
        settings: Of the run, beside those without which devices differ.
        given: Lines of Python that make `photographs` and `inside` for `train`, of
            `coffee`.
    """
    code = """
        import json, pathlib, sys
        import numpy as np, tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        sys.path.insert(0, "tests")
        from run_folders import train, weights
        from singan_tf import images
        coffee = images.read(images.resolve("coffee"))
        {given}
        folder = pathlib.Path(sys.argv[1])
        settings = dict(global_batch_size=4, steps=5, generator_normalization="none",
                        critic_normalization="none", inside=inside,
                        **json.loads(sys.argv[2]))
        one = train(photographs, folder / "1", strategy="one_device", **settings)
        two = train(photographs, folder / "2", strategy="mirrored", **settings)
        for scale in range(2):
            for a, b in zip(weights(one, scale), weights(two, scale)):
                np.testing.assert_allclose(a, b, atol=1e-4)
    """
    code = textwrap.dedent(code).replace("{given}", textwrap.dedent(given).strip())
    process = subprocess.run(
        [sys.executable, "-c", code, folder, json.dumps(settings)],
        cwd=pathlib.Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr[-3000:]
