"""What a run's result depends on besides its settings: devices, and weights of others.

A run folder notes it, so that a resumption in other circumstances is not taken for the
same run.
"""

from typing import Optional

import tensorflow as tf

from singan_tf import images
from singan_tf.config import Config
from singan_tf.runs.folder import Circumstances
from singan_tf.training import distribution, vgg


def find(config: Config, strategy: Optional[tf.distribute.Strategy]) -> Circumstances:
    """The circumstances of a run on this machine.

    Args:
        config: Of the run.
        strategy: That it trains with; None if its devices are not known, and with them
            the number of samples in an update where the setting is 0.

    Raises:
        UsageError: if the batch cannot be split over the devices.
        UserError: if the weights of the texture loss cannot be had.
    """
    asked, vgg_sha256 = config.training.global_batch_size, None
    batch_size = asked or None
    if strategy is not None:
        batch_size = strategy.num_replicas_in_sync * distribution.local_batch_size(
            strategy, asked
        )
    if config.training.texture_weight:
        vgg_sha256 = images.sha256(vgg.find(config.runtime.vgg_weights))
    return Circumstances(batch_size, vgg_sha256)
