"""Which devices, of this machine or of several, a run trains on.

Workers of a cluster are processes of the same command. They compute the same steps,
each on its share of the batch, so they must agree on where they start and where they
stop: `from_chief` and `any_worker` are how. Only the chief writes.
"""

import functools
import json
import logging
import os
from collections.abc import Sequence

import tensorflow as tf

from singan_tf.errors import UsageError, UserError

logger = logging.getLogger(__name__)


class WorkerLost(UserError):
    """A worker of the cluster is gone; all of them, started again, go on."""

    # EX_TEMPFAIL of sysexits.h: worth another attempt.
    status = 75


def make_strategy(name: str, global_batch_size: int = 0) -> tf.distribute.Strategy:
    """Chooses a distribution strategy, and waits for the cluster if there is one.

    Args:
        name: auto (every GPU when there are several over which the batch can be split,
            else one device), one_device, mirrored (every GPU; without GPUs every
            logical CPU), or multi_worker (the machines of TF_CONFIG, every GPU of
            each), which has to be made before TensorFlow computes anything.
        global_batch_size: Samples over all replicas; 0 is one for each.

    Returns:
        A tf.distribute strategy.

    Raises:
        UsageError: if TF_CONFIG is missing or wrong.
        WorkerLost: if the cluster does not come together.
    """
    if name == "multi_worker":
        return _join_cluster()
    gpus = tf.config.list_logical_devices("GPU")
    if name == "mirrored" or (name == "auto" and _takes_all(gpus, global_batch_size)):
        devices = gpus or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.OneDeviceStrategy("GPU:0" if gpus else "CPU:0")


def _takes_all(gpus: Sequence[tf.config.LogicalDevice], batch: int) -> bool:
    """Whether there are several GPUs and the batch can be split over them."""
    if batch % max(len(gpus), 1):
        logger.info(
            "A global batch size of %d cannot be split evenly over %d GPUs; one of "
            "them trains.",
            batch,
            len(gpus),
        )
        return False
    return len(gpus) > 1


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
        # In a cluster, each worker would train alone.
        alone = "" if is_cluster(strategy) else ", or the strategy one_device"
        raise UsageError(
            f"A global batch size of {global_batch_size} cannot be split evenly over "
            f"{replicas} devices; use a multiple of {replicas}, or 0 for one a device"
            f"{alone}."
        )
    return max(global_batch_size // replicas, 1)


def is_cluster(strategy: tf.distribute.Strategy) -> bool:
    """Whether the strategy's replicas are in several processes."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes; the only one of a machine does."""
    return not is_cluster(strategy) or leads_cluster()


def leads_cluster() -> bool:
    """Whether this process is the chief of the cluster in TF_CONFIG.

    Raises:
        UsageError: if TF_CONFIG is missing or wrong.
    """
    cluster, kind, index = _read_tf_config()
    return (kind, index) == ("chief" if "chief" in cluster else "worker", 0)


def from_chief(
    strategy: tf.distribute.Strategy, values: Sequence[int]
) -> tuple[int, ...]:
    """The chief's numbers, in every worker; all of them have to ask at once.

    Args:
        strategy: The run's.
        values: Whole numbers; those of other workers are only as many.
    """
    if not is_cluster(strategy):
        return tuple(values)
    # The chief's first device is the first of all.
    return tuple(_sum(strategy)(tf.constant(values, tf.int64), True).numpy().tolist())


def any_worker(strategy: tf.distribute.Strategy, flag: bool) -> bool:
    """Whether the flag is set in any worker; all of them have to ask at once."""
    if not is_cluster(strategy):
        return flag
    return bool(_sum(strategy)(tf.constant(int(flag), tf.int64), False) > 0)


@functools.lru_cache(maxsize=1)
def _sum(strategy: tf.distribute.Strategy):
    """Sums over devices, or takes the first one's: made once, as it is a graph."""

    @tf.function
    def total(values, first_only):
        def term():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            counts = (replica == 0) | (not first_only)
            return tf.where(counts, values, tf.zeros_like(values))

        return strategy.reduce("SUM", strategy.run(term), axis=None)

    return total


def _join_cluster() -> tf.distribute.MultiWorkerMirroredStrategy:
    cluster, kind, index = _read_tf_config()
    count = sum(map(len, cluster.values()))
    address = cluster[kind][index]
    logger.info("This is %s %d at %s, of %d workers.", kind, index, address, count)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.OpError as error:
        raise worker_lost(error) from None


def worker_lost(error: tf.errors.OpError) -> WorkerLost:
    """Says what to do after TensorFlow's word that a worker does not answer."""
    # The rest is where in the graph it was noticed.
    reason = error.message.rpartition("aborted by: ")[2].split("\n")[0].rstrip(".")
    return WorkerLost(
        f"A worker of the cluster does not answer ({reason}); start every worker that "
        "ends again with the same command: they go on from the last checkpoint."
    )


def _read_tf_config() -> tuple[dict, str, int]:
    """The cluster's addresses, and this worker's kind and index in it."""
    text = os.environ.get("TF_CONFIG")
    if not text:
        raise UsageError(
            "The strategy multi_worker needs TF_CONFIG in the environment: all "
            "workers' addresses and which of them this is (docs/scaling.md)."
        )
    try:
        data = json.loads(text)
        cluster, task = data["cluster"], data["task"]
        kind, index = task["type"], int(task["index"])
        if not set(cluster) <= {"chief", "worker"}:
            raise ValueError("it has more than a chief and workers")
        if not 0 <= index < len(cluster[kind]):
            raise ValueError(f"there is no {kind} {index}")
        return cluster, kind, index
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(
            "TF_CONFIG is not like {'cluster': {'worker': ['host:port', ...]}, 'task': "
            f"{{'type': 'worker', 'index': 0}}}} in JSON: {error}."
        ) from None
