"""Which devices a run trains on."""

import tensorflow as tf

from singan_tf.errors import UsageError


def make_strategy(name: str) -> tf.distribute.Strategy:
    """Chooses a distribution strategy for the devices of this machine.

    Args:
        name: auto (every GPU when there are several, else one device), one_device,
            or mirrored (every GPU; without GPUs every logical CPU).

    Returns:
        A tf.distribute strategy.
    """
    gpus = tf.config.list_logical_devices("GPU")
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        devices = gpus or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.OneDeviceStrategy("GPU:0" if gpus else "CPU:0")


def local_batch_size(strategy: tf.distribute.Strategy, global_batch_size: int) -> int:
    """Samples that each replica handles in an update.

    Args:
        strategy: The run's.
        global_batch_size: Samples over all replicas; 0 is one for each.

    Raises:
        UsageError: if the batch cannot be split evenly.
    """
    replicas = strategy.num_replicas_in_sync
    if global_batch_size % replicas:
        raise UsageError(
            f"--global_batch_size={global_batch_size} cannot be split evenly over "
            f"{replicas} devices; use a multiple of {replicas}, or 0 for one a device."
        )
    return max(global_batch_size // replicas, 1)
