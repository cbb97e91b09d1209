"""What the tests of training share: a tiny run, and what two runs have stored."""

import numpy as np
import tensorflow as tf

from singan_tf.runs.folder import RunFolder

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
