import os
import subprocess
import sys

import pytest
import tensorflow as tf

from singan_tf.distribution import local_batch_size, make_strategy
from singan_tf.errors import UsageError

TWO_CPUS = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
from singan_tf.distribution import local_batch_size, make_strategy
from singan_tf.errors import UsageError
for name in ("auto", "one_device", "mirrored"):
    strategy = make_strategy(name)
    print(type(strategy).__name__, strategy.num_replicas_in_sync)
print(local_batch_size(strategy, 0), local_batch_size(strategy, 6))
context = tf.distribute.get_replica_context
ran = strategy.run(lambda: context().replica_id_in_sync_group)
print(sorted(int(x) for x in strategy.experimental_local_results(ran)))
try:
    local_batch_size(strategy, 3)
except UsageError as error:
    print(error)
"""


class Replicas:
    """All that `local_batch_size` asks of a strategy; more need more devices."""

    def __init__(self, count):
        self.num_replicas_in_sync = count


@pytest.mark.skipif(
    bool(tf.config.list_physical_devices("GPU")), reason="about a machine without GPUs"
)
@pytest.mark.parametrize("name", ["auto", "one_device"])
def test_a_machine_without_gpus_is_one_device(name):
    strategy = make_strategy(name)
    assert isinstance(strategy, tf.distribute.OneDeviceStrategy)
    assert strategy.num_replicas_in_sync == 1
    with strategy.scope():
        assert "CPU:0" in tf.Variable(1.0).device


@pytest.mark.parametrize(
    "replicas, global_batch_size, expected",
    [(1, 0, 1), (1, 5, 5), (2, 0, 1), (2, 2, 1), (2, 6, 3), (8, 64, 8)],
)
def test_a_batch_is_split_evenly(replicas, global_batch_size, expected):
    assert local_batch_size(Replicas(replicas), global_batch_size) == expected


@pytest.mark.parametrize("replicas, global_batch_size", [(2, 1), (2, 3), (8, 4)])
def test_an_uneven_batch_is_refused_with_what_would_work(replicas, global_batch_size):
    with pytest.raises(UsageError) as caught:
        local_batch_size(Replicas(replicas), global_batch_size)
    message = str(caught.value)
    assert f"--global_batch_size={global_batch_size}" in message
    assert f"multiple of {replicas}" in message
    assert "\n" not in message


def test_mirrored_takes_every_logical_cpu():
    result = subprocess.run(
        [sys.executable, "-c", TWO_CPUS],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    *lines, error = result.stdout.splitlines()
    assert lines == [
        "OneDeviceStrategy 1",
        "OneDeviceStrategy 1",
        "MirroredStrategy 2",
        "1 3",
        "[0, 1]",
    ]
    assert error.startswith("--global_batch_size=3 cannot be split evenly over 2")
