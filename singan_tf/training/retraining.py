"""Training scales of a finished run again, for a task, beside the run."""

import dataclasses
from typing import Optional

import numpy as np
import tensorflow as tf

from singan_tf import images
from singan_tf.config import Config
from singan_tf.model import networks, stages
from singan_tf.model.singan import SinGAN
from singan_tf.runs.folder import RunFolder
from singan_tf.training import previous_images
from singan_tf.training.loop import train_scale
from singan_tf.training.session import Run


def retrain_scale(
    run: Run,
    singan: SinGAN,
    trained: RunFolder,
    scale: int,
    palette: Optional[np.ndarray],
) -> SinGAN:
    """Trains one scale of a finished run again, on previous images of few colours.

    Args:
        run: Its folder is where the new stage goes.
        singan: The run's pyramid, which stays as it is.
        trained: The finished run, which stays as it is.
        scale: At least 1, and one that is trained.
        palette: The colours, float32 [K, C]; None for all, which repeats the run.

    Returns:
        The pyramid with the new stage in place of that scale's.

    Raises:
        UserError: if the run is damaged or training diverges.
    """
    critic_below = None
    for below in range(run.config.layout.patch_scales, scale):
        critic_below = _trained_critic(run.config, trained, below) or critic_below
    retrained = singan.coarsest(scale)
    pools = [
        previous_images.draw_pool_of(each, run.config.training)
        for each in retrained.each()
    ]
    reals = [
        tf.constant(images.read(trained.real(scale, each), singan.channels))
        for each in range(singan.num_photographs)
    ]
    # It is trained as it was, but patches know of no colours.
    layout = dataclasses.replace(run.config.layout, patches_compete=False)
    run = run._replace(config=dataclasses.replace(run.config, layout=layout))
    train_scale(run, retrained, scale, reals, critic_below, pools, palette)
    retrained.stages = [*retrained.stages, *singan.stages[scale + 1 :]]
    return retrained


def retrain_on_images(
    run: Run,
    singan: SinGAN,
    trained: RunFolder,
    scale: int,
    entering: np.ndarray,
) -> SinGAN:
    """Trains the scales of a finished run from one on again, on images given to it.

    Each starts from what it was. The given images are to become the photograph, of
    several the first, so the scale that they enter does not add them to its output.

    Args:
        run: Its folder is where the new stages go, and is gone on with.
        singan: The run's pyramid, which stays as it is.
        trained: The finished run, which stays as it is.
        scale: At least 1.
        entering: What enters there, float32 [N, H, W, C] in [-1, 1]; the first one is
            trained to become the photograph itself.

    Returns:
        The pyramid of the new stages, over the images in place of coarser scales.

    Raises:
        Interrupted: if the run was asked to stop.
        UserError: if the run is damaged or training diverges.
    """
    retrained = SinGAN(singan.sizes, singan.channels)
    retrained.stages = [stages.ImageStage(entering)] * scale
    network = dataclasses.replace(run.config.network, residual=False)
    first = run._replace(config=dataclasses.replace(run.config, network=network))
    pool = previous_images.draw_pool_of(
        retrained.coarsest(scale - 1), run.config.training
    )
    for each in range(scale, len(singan.sizes)):
        pool = previous_images.draw_pool(retrained, pool, run.config.training)
        if not singan.stages[each].trained:
            retrained.append(singan.stages[each], None)
            continue
        real = images.read(trained.real(each), singan.channels)
        train_scale(
            first if each == scale else run,
            retrained,
            each,
            [tf.constant(real)],
            _trained_critic(run.config, trained, each),
            [pool],
            generator=singan.stages[each].generator,
        )
    return retrained


def _trained_critic(
    config: Config, trained: RunFolder, scale: int
) -> Optional[networks.Critic]:
    """The critic of a scale of a finished run; None where it has none."""
    if not config.adversary.has_critic(scale):
        return None
    critic = networks.build_critic(config, scale)
    state = trained.state(scale)
    trained.restore(scale, state, {"critic": critic})
    return critic
