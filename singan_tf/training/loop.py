"""How a pyramid is trained: one scale after the other, coarse to fine.

`train` walks the scales. Scale 0 is the coarsest; each trains a small generator that
makes the photograph's patches at its size out of what the scales below made, and each
stays as it is once the next one begins. `train_scale` is one of them: it builds the
players (`players`), takes up what an earlier process left (`progress`), repeats the
step (`step.ScaleStep`, the recipe of the paper) and appends the finished stage to the
pyramid. Scales of patches need no training (`layouts`).

There may be several photographs, each with a pyramid of its own, and one model of all:
every step takes one of them (`draws.photograph_of`).
"""

from collections.abc import Sequence
from typing import Callable, NamedTuple, Optional, Union

import numpy as np
import tensorflow as tf

from singan_tf import inside as inside_lib
from singan_tf.config import Config
from singan_tf.errors import UsageError, UserError, system_reason
from singan_tf.model import networks, pyramid
from singan_tf.model.singan import SinGAN
from singan_tf.model.stages import Stage
from singan_tf.runs.display import Monitor
from singan_tf.runs.folder import RunFolder, model_objects
from singan_tf.training import distribution, draws, layouts, previous_images, session
from singan_tf.training.contest import Contest, open_contest
from singan_tf.training.pictures import write_pictures, write_samples
from singan_tf.training.players import Players, make_players, noise_amplitude
from singan_tf.training.progress import Progress
from singan_tf.training.session import Interrupted, Run, agreed_state
from singan_tf.training.step import ScaleStep


class Trained(NamedTuple):
    """What training leaves, beside the run folder.

    Attributes:
        singan: The trained pyramid.
        samples: Those of the contact sheet by seed, float32 [1, H, W, C] in [-1, 1];
            None where another worker drew them.
    """

    singan: SinGAN
    samples: Optional[dict[int, np.ndarray]]


def train(
    photographs: Union[np.ndarray, Sequence[np.ndarray]],
    config: Config,
    folder: RunFolder,
    monitor: Monitor,
    should_stop: Callable[[], bool] = lambda: False,
    strategy: Optional[tf.distribute.Strategy] = None,
    insides: Sequence[Optional[np.ndarray]] = (),
) -> Trained:
    """Trains a pyramid on photographs, or goes on where a run folder stands.

    Args:
        photographs: float32 [1, H, W, C] in [-1, 1], or a list of such of any sizes;
            outside of what counts, filled (`photographs.read`).
        config: Of the run.
        folder: Where the run is kept; the chief has opened it (`RunFolder.open`).
        monitor: Shows the progress.
        should_stop: Asked after every step.
        strategy: On which devices; by default as the configuration says.
        insides: What of each photograph counts, bool [H, W], or None for all; none
            where all of all does.

    Returns:
        The trained pyramid, and samples of it.

    Raises:
        Interrupted: if `should_stop` said so; the run can be resumed.
        UserError: if a photograph does not fit the settings, or what of it counts is
            too little, the run folder is damaged or cannot be written, memory or
            another resource of the system is short, training diverges, or a worker of
            the cluster is lost.
    """
    strategy = strategy or distribution.make_strategy(
        config.runtime.strategy, config.training.global_batch_size
    )
    run = Run(config, strategy, folder, monitor, should_stop)
    if isinstance(photographs, np.ndarray):
        photographs = [photographs]
    try:
        return _train(run, photographs, insides)
    except tf.errors.ResourceExhaustedError as error:
        # Not only memory: a full disk is this error, too.
        reason = system_reason(error)
        if reason:
            raise UserError(
                f"Training cannot go on ({reason}); mend that and run the same command "
                "again: it goes on from the last checkpoint."
            ) from None
        raise UserError(
            "There is not enough memory; train on crops (a crop_size of 128 and a "
            "previous_pool of 8), or with a smaller max_size or max_width."
        ) from None
    except tf.errors.OpError as error:
        if not distribution.is_cluster(strategy):
            raise
        raise distribution.worker_lost(error) from None


def _train(
    run: Run,
    photographs: Sequence[np.ndarray],
    insides: Sequence[Optional[np.ndarray]],
) -> Trained:
    """Trains every scale."""
    config = run.config
    if config.training.xla and run.strategy.num_replicas_in_sync > 1:
        raise UsageError(
            "XLA compiles for one device, and there are "
            f"{run.strategy.num_replicas_in_sync}; train without xla."
        )

    # The photographs at every scale, and what of them counts.
    sizes = pyramid.plan_all(
        [(each.shape[1], each.shape[2]) for each in photographs], config
    )
    pyramids = [
        pyramid.image_pyramid(tf.constant(photograph), its_sizes)
        for photograph, its_sizes in zip(photographs, sizes)
    ]
    insides = inside_lib.of_each(insides, len(photographs))
    run = run._replace(
        insides=[
            _inside_pyramid(config, its_sizes, inside)
            for inside, its_sizes in zip(insides, sizes)
        ]
    )
    session.require_same_task(run, photographs)
    if run.chief:
        for number, (each, its_insides) in enumerate(zip(pyramids, run.insides)):
            run.folder.write_pyramid(each, number, its_insides or ())

    # A stage for each, coarse to fine. What goes from scale to scale is the pyramid,
    # the critic that the next one starts from, and the pools of samples to train on.
    singan = SinGAN(sizes[0], config.network.channels, sizes[1:])
    critic, pools = None, [None] * len(pyramids)
    for scale, reals in enumerate(zip(*pyramids)):
        if any(config.steps_at(above) for above in range(scale, len(singan.sizes))):
            pools = [
                previous_images.draw_pool(each, pool, config.training)
                for each, pool in zip(singan.each(), pools)
            ]
        if config.steps_at(scale):
            critic = train_scale(run, singan, scale, reals, critic, pools)
        else:
            layouts.make_patch_scale(run, singan, scale, reals)

    # The contact sheet, which says that the run has ended.
    samples = None
    if run.chief:
        finest = [each[-1] for each in pyramids]
        samples = write_samples(singan, finest, config.training.seed, run.folder)
    # A worker that ends early would not be there for a chief that starts again.
    distribution.any_worker(run.strategy, False)
    return Trained(singan, samples)


def _inside_pyramid(
    config: Config, sizes: Sequence[tuple[int, int]], inside: Optional[np.ndarray]
) -> Optional[tuple[np.ndarray, ...]]:
    """What of a photograph counts at each scale; None for all."""
    if inside is None:
        return None
    inside_lib.check(config, sizes, inside)
    return tuple(inside_lib.resized(inside, size) for size in sizes)


def train_scale(
    run: Run,
    singan: SinGAN,
    scale: int,
    reals: Sequence[tf.Tensor],
    critic_below: Optional[networks.Critic],
    pools: Sequence[Optional[tf.Tensor]],
    palette: Optional[np.ndarray] = None,
    generator: Optional[networks.Generator] = None,
) -> Optional[networks.Critic]:
    """Trains the stage of one scale and appends it to the pyramid, finished.

    Args:
        run: What stays the same from scale to scale.
        singan: The stages of the coarser scales.
        scale: The scale to train.
        reals: The photographs there, each float32 [1, H, W, C] in [-1, 1].
        critic_below: The nearest of the coarser scales, to start from, if any.
        pools: Of each photograph's size samples of the scale below to train on, float32
            [pool, h, w, C]; None to draw one for every update, and at scale 0.
        palette: The only colours of its previous images, float32 [K, C]; None for
            all.
        generator: To start from; None for that of the scale below, if it is trained.

    Returns:
        The critic for a finer scale to start from: this scale's, or where that has
        none, the one from below.

    Raises:
        Interrupted: if the run was asked to stop.
        UserError: if the run folder is damaged or training diverges.
    """
    config, strategy = run.config, run.strategy
    # The new networks start from the weights of the scale below.
    if generator is None and singan.stages:
        generator = getattr(singan.stages[-1], "generator", None)
    previous = [previous_images.reconstruction(each) for each in singan.each()]
    with strategy.scope():
        synchronized = strategy.num_replicas_in_sync > 1
        players = make_players(
            config, scale, palette, synchronized, generator, critic_below
        )
        grown = _with_first_values(run, singan, players, reals, previous)

    # The steps that are left, and then the stage stays as it is.
    stage = _better_patches(run, singan, players, reals)
    if stage is None:
        stage = _take_steps(run, grown, players, reals, previous, pools)
    singan.append(stage, grown.reconstruction_noise, grown.further_noise)
    return critic_below if players.critic is None else players.critic


def _take_steps(
    run: Run,
    grown: SinGAN,
    players: Players,
    reals: Sequence[tf.Tensor],
    previous_reconstructions: Sequence[tf.Tensor],
    pools: Sequence[Optional[tf.Tensor]],
) -> Stage:
    """Does what an earlier process has left of a scale; the stage that it is then."""
    # They go on from its last checkpoint.
    scale = len(grown.stages) - 1
    contest = open_contest(run, grown.coarsest(scale), players, reals, pools)
    objects = {**players.objects(), **model_objects(grown, scale)}
    if contest is not None:
        objects["best"] = contest.best
    progress = Progress(run, scale, objects)
    if progress.finished:
        return players.stage
    insides = run.insides_at(scale, len(reals))
    of_each = [
        ScaleStep(
            run.config,
            run.strategy,
            each,
            players,
            reals[each.photograph],
            previous_reconstructions[each.photograph],
            pools[each.photograph],
            insides[each.photograph],
            [x for n, x in enumerate(zip(reals, insides)) if n != each.photograph],
        ).compiled()
        for each in grown.each()
    ]

    def take(step: int) -> tf.Tensor:
        seed = run.config.training.seed
        chosen = draws.photograph_of(seed, scale, step, len(of_each))
        return of_each[chosen](tf.constant(step, tf.int64))

    _repeat(take, run, grown, scale, reals, progress, contest)
    return _finish(run, grown, players, scale, reals, progress, contest)


def _better_patches(
    run: Run, singan: SinGAN, players: Players, reals: Sequence[tf.Tensor]
) -> Optional[Stage]:
    """The stage of patches that an earlier process found better, if it did."""
    scale = len(singan.stages)
    state = agreed_state(run, scale) if run.config.layout.patches_compete else None
    if state is None or not state.patches:
        return None
    stage = layouts.patch_stage(run, singan, reals)
    run.folder.restore(scale, state, {**players.objects(), "stage": stage})
    return stage


def _with_first_values(
    run: Run,
    singan: SinGAN,
    players: Players,
    reals: Sequence[tf.Tensor],
    previous_reconstructions: Sequence[tf.Tensor],
) -> SinGAN:
    """The pyramid with the new stage, whose noise amplitude is set, or z*."""
    training = run.config.training
    grown = singan.with_stage(players.stage)
    if singan.stages:
        insides = run.insides_at(len(singan.stages), len(reals))
        amplitude = noise_amplitude(
            reals, previous_reconstructions, training.noise_amplitude_weight, insides
        )
        players.stage.noise_amplitude.assign(amplitude)
    else:
        grown.set_reconstruction_noise(draws.reconstruction_seed(training, 0))
    return grown


def _repeat(
    take: Callable[[int], tf.Tensor],
    run: Run,
    grown: SinGAN,
    scale: int,
    reals: Sequence[tf.Tensor],
    progress: Progress,
    contest: Optional[Contest],
) -> None:
    """Does the steps of a scale that are not done; raises Interrupted if asked to."""
    config = run.config
    run.monitor.start_scale(scale, progress.steps)
    if contest is not None and progress.steps:
        # Of a run that goes on after its end, the last weights then were not offered.
        contest.offer(progress.steps - 1)
    for step in range(progress.steps, config.training.at(scale).steps):
        losses = take(step)
        progress.add(losses)

        # What a person sees meanwhile.
        run.monitor.step(scale, step, losses)
        run.monitor.measure(
            scale,
            step,
            reals,
            lambda: grown.sample([config.training.seed]),
            run.insides_at(scale, len(reals)),
        )

        if contest is not None:
            contest.offer(step)

        # What a process that is stopped or killed leaves.
        stopping = session.should_stop(run, scale, step)
        age = progress.seconds_since_save
        if stopping or age >= config.runtime.checkpoint_seconds:
            progress.save(finished=False)
        if stopping:
            raise Interrupted()


def _finish(
    run: Run,
    grown: SinGAN,
    players: Players,
    scale: int,
    reals: Sequence[tf.Tensor],
    progress: Progress,
    contest: Optional[Contest],
) -> Stage:
    """Settles what a stage is from now on, shows it, and saves it as finished."""
    training = run.config.training
    if progress.unsaved:
        # Pictures of a large photograph take minutes: the steps are safe first.
        progress.save(finished=False)

    # Averaged weights, and the last z*.
    if training.moving_average:
        players.average()
    if scale == 0:
        seed = draws.reconstruction_seed(training, training.at(0).steps - 1)
        grown.set_reconstruction_noise(seed)

    # The best of the candidates, if there were several.
    stage = players.stage if contest is None else contest.settle()
    patches = None if stage is players.stage else {**players.objects(), "stage": stage}
    grown = grown.coarsest(scale).with_stage(stage)

    if run.chief:
        pictures = write_pictures(grown, scale, training.seed, run.folder)
        insides = run.insides_at(scale, len(reals))
        run.monitor.finish_scale(scale, reals, *pictures, insides)
    progress.save(finished=True, patches=patches)
    return stage
