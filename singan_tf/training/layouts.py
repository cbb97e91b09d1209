"""Scales that patch matching makes, in no steps, and how far their layouts move.

The coarsest of them decides where things are. `set_layout_shift` finds how far its
content has to be moved for layouts to differ as much as they are asked to.
"""

import logging
from collections.abc import Sequence
from typing import Optional

import numpy as np
import tensorflow as tf

from singan_tf.config import Config
from singan_tf.measure import metrics
from singan_tf.model import stages
from singan_tf.model.singan import SinGAN
from singan_tf.runs.folder import model_objects
from singan_tf.runs.tables import LOSS_COLUMNS
from singan_tf.training import distribution, draws, previous_images
from singan_tf.training.judge import Judge
from singan_tf.training.pictures import write_pictures
from singan_tf.training.session import Interrupted, Run, agreed_state

logger = logging.getLogger(__name__)

# Layouts whose diversity is measured, the largest shift that is tried for the one asked
# for, and how often the interval is halved.
_LAYOUTS = 32
_MOST_SHIFT = 0.5
_BISECTIONS = 8
# See `patch_voting.rearrange`; of what measures alike, the first.
_TRUSTS = (0.6, 0.8, 0.9, 0.97)


def make_patch_scale(
    run: Run, singan: SinGAN, scale: int, reals: Sequence[tf.Tensor]
) -> None:
    """Appends a stage that patch matching makes of the photographs alone.

    Args:
        run: What stays the same from scale to scale.
        singan: The stages of the coarser scales.
        scale: The scale.
        reals: The photographs there, each float32 [1, H, W, C] in [-1, 1].

    Raises:
        Interrupted: if the run was asked to stop.
        UserError: if the run folder is damaged.
    """
    # The stage, and the pyramid as it will be with it.
    stage = patch_stage(run, singan, reals)
    grown = singan.with_stage(stage)
    if scale == 0:
        with run.strategy.scope():
            grown.set_reconstruction_noise(None)

    # The chief makes the scale, unless an earlier process has.
    saved = model_objects(grown, scale)
    state = agreed_state(run, scale)
    if state is None:
        run.monitor.start_scale(scale, 0)
        if run.chief:
            if scale == 0:
                set_layout_shift(stage, run.config, run.insides_at(0, 1)[0])
            elif scale == len(singan.sizes) - 1 and run.config.layout.patch_votes:
                set_trust(stage, _judge(run, singan, reals))
            seed = run.config.training.seed
            pictures = write_pictures(grown, scale, seed, run.folder)
            insides = run.insides_at(scale, len(reals))
            run.monitor.finish_scale(scale, reals, *pictures, insides)
            no_losses = np.zeros([0, len(LOSS_COLUMNS)])
            run.folder.save(scale, saved, no_losses, finished=True)
        if distribution.any_worker(run.strategy, run.should_stop()):
            raise Interrupted()
        state = agreed_state(run, scale)

    # What the chief found, in all workers: another machine may round otherwise.
    run.folder.restore(scale, state, saved)
    singan.append(stage, grown.reconstruction_noise, grown.further_noise)


def patch_stage(
    run: Run, singan: SinGAN, reals: Sequence[tf.Tensor]
) -> stages.PatchStage:
    """The next stage of a pyramid, of patches of the photographs.

    Args:
        run: What stays the same from scale to scale.
        singan: The stages of the coarser scales; the pyramid stays as it is.
        reals: The photographs there, each float32 [1, H, W, C] in [-1, 1].
    """
    scale = len(singan.stages)
    previous = [previous_images.reconstruction(each) for each in singan.each()]
    insides = run.insides_at(scale, len(reals))
    masked = any(inside is not None for inside in insides)
    with run.strategy.scope():
        stage = stages.build_patch_stage(
            run.config, scale, *singan.sizes_at(scale), masked=masked
        )
        for photograph, (real, below) in enumerate(zip(reals, previous)):
            stage.remember(real, below, photograph)
        if masked:
            stage.restrict(insides)
    return stage


def _judge(run: Run, singan: SinGAN, reals: Sequence[tf.Tensor]) -> Judge:
    """The judge of a scale above which nothing is trained: it draws its samples."""
    count, training = len(reals), run.config.training
    insides = run.insides_at(len(singan.stages), count)
    return Judge(singan, reals, [None] * count, training, insides)


def set_trust(stage: stages.PatchStage, judge: Judge) -> float:
    """Lets patches vote as suits the photograph.

    Where texture fills it, only those that fit may count, or it is averaged away;
    where edges lie before smooth ground, seams show, and their power in all
    frequencies, unless more of them count.

    Args:
        stage: It has seen the photograph, and its patches vote.
        judge: Of its scale.

    Returns:
        How far samples are from the photograph then, by the judge.
    """
    distances = []
    for number, trust in enumerate(_TRUSTS, start=1):
        # Of some megapixels, each takes minutes.
        logger.info("Measuring how patches vote best, %d of %d.", number, len(_TRUSTS))
        stage.trust.assign(trust)
        distances.append(judge.distance(stage))
    stage.trust.assign(_TRUSTS[int(np.argmin(distances))])
    return min(distances)


def share_trust(stage: stages.PatchStage, strategy: tf.distribute.Strategy) -> None:
    """Lets patches vote in every worker of a cluster as they do in the chief.

    Each has set it by its own measurements, and another machine may round otherwise.

    Args:
        stage: After `set_trust`.
        strategy: The run's; all its workers have to ask at once.
    """
    mine = np.argmin(np.abs(np.subtract(_TRUSTS, stage.trust.numpy())))
    (chiefs,) = distribution.from_chief(strategy, [int(mine)])
    stage.trust.assign(_TRUSTS[chiefs])


def set_layout_shift(
    stage: stages.PatchStage, config: Config, inside: Optional[np.ndarray] = None
) -> None:
    """Raises the coarsest patch stage's noise amplitude from `layout_shift`.

    Layouts differ the more the further content moves, so bisection finds the amplitude
    of the diversity that is asked for. What differs at the coarsest scale does above.
    Of several photographs, it is that of the layouts of the first.
    The least shift is for small things on an even ground, such as cows on a meadow: all
    pixels of theirs differ before anyone sees that they moved.

    Args:
        stage: It has seen the photograph.
        config: Of the run: the diversity, the least shift, and the seed.
        inside: What of the photograph counts there, bool [H, W]; None for all.
    """
    layout = config.layout
    if not layout.layout_diversity:
        return
    photograph = stage.real.numpy()
    height, width = photograph.shape[1:3]
    seeds = draws.pool_seeds(config.training.seed, _LAYOUTS)
    noise_map = stage.of_first(stage.noise(seeds, 0, height, width))
    previous = tf.zeros([_LAYOUTS, *photograph.shape[1:]])
    low, high = 0.0, _MOST_SHIFT
    for _ in range(_BISECTIONS):
        amplitude = (low + high) / 2
        stage.noise_amplitude.assign(amplitude)
        drawn = [image[np.newaxis] for image in stage(noise_map, previous).numpy()]
        diversity = metrics.diversity(drawn, photograph, inside)
        # None: a photograph of one colour, which no displacement changes.
        if diversity is None or diversity >= layout.layout_diversity:
            high = amplitude
        else:
            low = amplitude
    stage.noise_amplitude.assign(max(high, layout.layout_shift))
