"""Training: one scale after the other, each against an adversary of its own.

`train` walks the pyramid; `train_scale` builds the players of a scale, restores
what an earlier process left, and repeats the step of `_make_step`, which holds the
whole recipe of the paper, or its short form where a distance of patches stands in
for the critic; `make_patch_scale` makes a scale of patches, in no steps. Every random
number is derived from (seed, scale, step, update), so a resumed run draws what an
uninterrupted one would.
"""

import dataclasses
import hashlib
import json
import logging
import pathlib
import time
from typing import Callable, NamedTuple, Optional

import numpy as np
import tensorflow as tf

from singan_tf import config as config_lib
from singan_tf import images
from singan_tf.config import Config, TrainingConfig
from singan_tf.errors import UsageError, UserError
from singan_tf.measure import metrics
from singan_tf.model import networks, noise, pyramid, stages
from singan_tf.model.singan import SinGAN, bring_up
from singan_tf.runs import checkpoint
from singan_tf.runs.monitor import Monitor
from singan_tf.training import distribution, losses, patch_losses, vgg

logger = logging.getLogger(__name__)

_SHEET_SAMPLES = 11
# Adam's in PyTorch, which the recipe was tuned with; Keras' own is 1e-7.
_ADAM_EPSILON = 1e-8
# Layouts whose diversity is measured, the largest shift that is tried for the one asked
# for, and how often the interval is halved.
_LAYOUTS = 32
_MOST_SHIFT = 0.5
_BISECTIONS = 10
# Places in the counter of random numbers above those of a step's updates.
_RECONSTRUCTION_DRAW = 254
_POOL_DRAW = 255


class Interrupted(Exception):
    """Training was asked to stop; everything up to then is saved."""


class Players(NamedTuple):
    """What a scale trains: a stage, its critic and their optimizers.

    There is no critic where the adversary is a distance.
    """

    stage: stages.ConvolutionalStage
    critic: Optional[networks.Critic]
    generator_optimizer: tf.keras.optimizers.Optimizer
    critic_optimizer: Optional[tf.keras.optimizers.Optimizer]


class Run(NamedTuple):
    """What stays the same from scale to scale.

    Attributes:
        config: Every setting.
        strategy: Where variables live and steps run.
        folder: The run folder.
        monitor: Shows the progress.
        should_stop: Asked after every step.
    """

    config: Config
    strategy: tf.distribute.Strategy
    folder: pathlib.Path
    monitor: Monitor
    should_stop: Callable[[], bool]

    @property
    def chief(self) -> bool:
        """Whether this process writes; there is one that does."""
        return distribution.is_chief(self.strategy)


def train(
    photograph: np.ndarray,
    config: Config,
    run_dir: pathlib.Path,
    monitor: Monitor,
    should_stop: Callable[[], bool] = lambda: False,
    strategy: Optional[tf.distribute.Strategy] = None,
) -> SinGAN:
    """Trains a pyramid on one photograph, or goes on where a run folder stands.

    Args:
        photograph: float32 [1, H, W, C] in [-1, 1].
        config: Of the run.
        run_dir: A run folder that the chief has opened (`checkpoint.open_run`).
        monitor: Shows the progress.
        should_stop: Asked after every step.
        strategy: On which devices; by default as the configuration says.

    Returns:
        The trained pyramid.

    Raises:
        Interrupted: if `should_stop` said so; the run can be resumed.
        UserError: if the photograph does not fit the settings, the run folder is
            damaged or cannot be written, memory is short, training diverges, or a
            worker of the cluster is lost.
    """
    strategy = strategy or distribution.make_strategy(config.runtime.strategy)
    run = Run(config, strategy, run_dir, monitor, should_stop)
    try:
        return _train(run, photograph)
    except tf.errors.ResourceExhaustedError:
        raise UserError(
            "There is not enough memory; train on crops (--crop_size=128 "
            "--previous_pool=8), or with a smaller --max_size or --max_width."
        ) from None
    except tf.errors.OpError as error:
        if not distribution.is_cluster(strategy):
            raise
        raise distribution.worker_lost(error) from None


def _train(run: Run, photograph: np.ndarray) -> SinGAN:
    """Trains every scale."""
    config = run.config
    if config.training.xla and run.strategy.num_replicas_in_sync > 1:
        raise UsageError(
            "--xla compiles for one device, and there are "
            f"{run.strategy.num_replicas_in_sync}; leave it out."
        )
    height, width = photograph.shape[1:3]
    sizes = pyramid.plan_scales(height, width, config.pyramid).sizes
    reals = pyramid.image_pyramid(tf.constant(photograph), sizes)
    _require_same_task(run, photograph)
    if run.chief:
        checkpoint.write_pyramid(run.folder, reals)
    singan = SinGAN(sizes, config.network.channels)
    critic = pool = None
    for scale, real in enumerate(reals):
        pool = _draw_pool(singan, pool, config.training)
        if config.steps_at(scale):
            critic = train_scale(run, singan, scale, real, critic, pool)
        else:
            make_patch_scale(run, singan, scale, real)
    if run.chief:
        write_samples(singan, reals[-1], config.training.seed, run.folder)
    # A worker that ends early would not be there for a chief that starts again.
    distribution.any_worker(run.strategy, False)
    return singan


def _require_same_task(run: Run, photograph: np.ndarray) -> None:
    """Refuses workers of one cluster that were given different things to do."""
    # Even how often they agree, by --log_steps, has to be the same.
    settings = json.dumps(config_lib.to_json(run.config))
    text = settings.encode() + photograph.tobytes()
    mine = int(hashlib.sha256(text).hexdigest()[:12], 16)
    (chiefs,) = distribution.from_chief(run.strategy, [mine])
    if distribution.any_worker(run.strategy, mine != chiefs):
        raise UserError(
            "The workers of the cluster were given different settings or photographs; "
            "start all of them with the same command."
        )


def make_patch_scale(run: Run, singan: SinGAN, scale: int, real: tf.Tensor) -> None:
    """Appends a stage that patch matching makes of the photograph alone.

    Args:
        run: What stays the same from scale to scale.
        singan: The stages of the coarser scales.
        scale: The scale.
        real: The photograph there, float32 [1, H, W, C] in [-1, 1].

    Raises:
        Interrupted: if the run was asked to stop.
        UserError: if the run folder is damaged.
    """
    previous_reconstruction = _previous_reconstruction(singan.coarsest(scale), scale)
    with run.strategy.scope():
        stage = stages.build_patch_stage(run.config, scale, singan.sizes[scale])
        stage.remember(real, previous_reconstruction)
        singan.stages.append(stage)
        if scale == 0:
            singan.set_reconstruction_noise(None)
    saved = checkpoint.model_objects(singan, scale)
    state = _agreed_state(run, scale)
    if state is None:
        run.monitor.start_scale(scale, 0)
        if run.chief:
            if scale == 0:
                _set_layout_shift(stage, run.config)
            pictures = _write_pictures(
                singan, scale, run.config.training.seed, run.folder
            )
            run.monitor.finish_scale(scale, real, *pictures)
            no_losses = np.zeros([0, len(checkpoint.LOSS_COLUMNS)])
            checkpoint.save(run.folder, scale, saved, no_losses, finished=True)
        if distribution.any_worker(run.strategy, run.should_stop()):
            raise Interrupted()
        state = _agreed_state(run, scale)
    # What the chief found, in all workers: another machine may round otherwise.
    checkpoint.restore(run.folder, scale, state, saved)


def _set_layout_shift(stage: stages.PatchStage, config: Config) -> None:
    """Raises the coarsest patch stage's noise amplitude from --layout_shift.

    Layouts differ the more the further content moves, so bisection finds the amplitude
    of the diversity that is asked for. What differs at the coarsest scale does above.
    The least shift is for small things on an even ground, such as cows on a meadow: all
    pixels of theirs differ before anyone sees that they moved.
    """
    layout = config.layout
    if not layout.layout_diversity:
        return
    photograph = stage.real.numpy()
    height, width = photograph.shape[1:3]
    counter = _counter(0, tf.constant(0, tf.int64), _POOL_DRAW)
    seeds = noise.derive_seeds(config.training.seed, counter, _LAYOUTS)
    noise_map = stage.noise(seeds, 0, height, width)
    previous = tf.zeros([_LAYOUTS, *photograph.shape[1:]])
    low, high = 0.0, _MOST_SHIFT
    for _ in range(_BISECTIONS):
        amplitude = (low + high) / 2
        stage.noise_amplitude.assign(amplitude)
        drawn = [image[np.newaxis] for image in stage(noise_map, previous).numpy()]
        found = metrics.diversity(drawn, photograph)
        # None: a photograph of one colour, which no displacement changes.
        if found is None or found >= layout.layout_diversity:
            high = amplitude
        else:
            low = amplitude
    stage.noise_amplitude.assign(max(high, layout.layout_shift))


def train_scale(
    run: Run,
    singan: SinGAN,
    scale: int,
    real: tf.Tensor,
    critic_below: Optional[networks.Critic],
    pool: Optional[tf.Tensor],
    palette: Optional[np.ndarray] = None,
    generator: Optional[networks.Generator] = None,
) -> Optional[networks.Critic]:
    """Trains the stage of one scale and appends it to the pyramid.

    Args:
        run: What stays the same from scale to scale.
        singan: The stages of the coarser scales.
        scale: The scale to train.
        real: The photograph there, float32 [1, H, W, C] in [-1, 1].
        critic_below: The nearest of the coarser scales, to start from, if any.
        pool: Samples of the scale below to train on, float32 [pool, h, w, C]; None to
            draw one for every update, and at scale 0.
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
    training = run.config.training
    coarser = singan.coarsest(scale)
    previous_reconstruction = _previous_reconstruction(coarser, scale)
    with run.strategy.scope():
        if generator is None and scale > run.config.layout.patch_scales:
            generator = singan.stages[-1].generator
        players = _make_players(
            run.config,
            scale,
            palette,
            run.strategy.num_replicas_in_sync > 1,
            generator,
            critic_below,
        )
        if scale > 0:
            players.stage.noise_amplitude.assign(
                noise_amplitude(
                    real, previous_reconstruction, training.noise_amplitude_weight
                )
            )
        singan.stages.append(players.stage)
        if scale == 0:
            singan.set_reconstruction_noise(_reconstruction_seed(training, 0))

    critic = critic_below if players.critic is None else players.critic
    saved = {name: each for name, each in players._asdict().items() if each is not None}
    saved.update(checkpoint.model_objects(singan, scale))
    history, fresh = [], []
    state = _agreed_state(run, scale)
    if state is not None:
        checkpoint.restore(run.folder, scale, state, saved)
        if state.finished:
            return critic
        history.extend(checkpoint.read_losses(run.folder, scale, state))

    def save(finished):
        history.extend(_finite_rows(fresh, scale))
        fresh.clear()
        if run.chief:
            checkpoint.save(run.folder, scale, saved, np.stack(history), finished)

    step_function = _make_step(
        run, singan, coarser, players, real, previous_reconstruction, pool
    )
    run.monitor.start_scale(scale, len(history))
    last_saved = time.monotonic()
    for step in range(len(history), training.steps):
        fresh.append(step_function(tf.constant(step, tf.int64)))
        run.monitor.step(scale, step, fresh[-1])
        run.monitor.measure(scale, step, real, lambda: singan.sample([training.seed]))
        stopping = _should_stop(run, step)
        since = time.monotonic() - last_saved
        if stopping or since >= run.config.runtime.checkpoint_seconds:
            save(finished=False)
            last_saved = time.monotonic()
        if stopping:
            raise Interrupted()
    if fresh:
        # Pictures of a large photograph take minutes: the steps are safe first.
        save(finished=False)
    _finish_stage(singan, players, scale, training)
    if run.chief:
        pictures = _write_pictures(singan, scale, training.seed, run.folder)
        run.monitor.finish_scale(scale, real, *pictures)
    save(finished=True)
    return critic


def _agreed_state(run: Run, scale: int) -> Optional[checkpoint.ScaleState]:
    """How far a scale has come, as the chief reads it; None before its start."""
    state = checkpoint.sound_state(run.folder, scale) if run.chief else None
    numbers = (-1, 0) if state is None else (state.step, int(state.finished))
    step, finished = distribution.from_chief(run.strategy, numbers)
    return None if step < 0 else checkpoint.ScaleState.at(step, bool(finished))


def _should_stop(run: Run, step: int) -> bool:
    """Whether to stop after a step; the workers of a cluster stop at the same one."""
    if not distribution.is_cluster(run.strategy):
        return run.should_stop()
    # To agree, all wait for each other's devices: as often as losses are read.
    done = step + 1
    if done % run.config.runtime.log_steps and done != run.config.training.steps:
        return False
    return distribution.any_worker(run.strategy, run.should_stop())


def retrain_scale(
    run: Run,
    singan: SinGAN,
    run_dir: pathlib.Path,
    scale: int,
    palette: Optional[np.ndarray],
) -> SinGAN:
    """Trains one scale of a finished run again, on previous images of few colours.

    Args:
        run: Its folder is where the new stage goes.
        singan: The run's pyramid, which stays as it is.
        run_dir: The finished run, which stays as it is.
        scale: At least 1, and one that is trained.
        palette: The colours, float32 [K, C]; None for all, which repeats the run.

    Returns:
        The pyramid with the new stage in place of that scale's.

    Raises:
        UserError: if the run is damaged or training diverges.
    """
    critic_below = None
    for below in range(run.config.layout.patch_scales, scale):
        critic_below = _trained_critic(run.config, run_dir, below) or critic_below
    pool = _draw_pool_of(singan.coarsest(scale), run.config.training)
    real = images.read(run_dir / "pyramid" / f"{scale:02d}.png", singan.channels)
    retrained = singan.coarsest(scale)
    train_scale(run, retrained, scale, tf.constant(real), critic_below, pool, palette)
    retrained.stages = [*retrained.stages, *singan.stages[scale + 1 :]]
    return retrained


def retrain_on_images(
    run: Run,
    singan: SinGAN,
    run_dir: pathlib.Path,
    scale: int,
    entering: np.ndarray,
) -> SinGAN:
    """Trains the scales of a finished run from one on again, on images given to it.

    Each starts from what it was. The given images are to become the photograph, so
    the scale that they enter does not add them to its output.

    Args:
        run: Its folder is where the new stages go, and is gone on with.
        singan: The run's pyramid, which stays as it is.
        run_dir: The finished run, which stays as it is.
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
    pool = _draw_pool_of(retrained.coarsest(scale - 1), run.config.training)
    for each in range(scale, len(singan.sizes)):
        pool = _draw_pool(retrained, pool, run.config.training)
        real = images.read(run_dir / "pyramid" / f"{each:02d}.png", singan.channels)
        train_scale(
            first if each == scale else run,
            retrained,
            each,
            tf.constant(real),
            _trained_critic(run.config, run_dir, each),
            pool,
            generator=singan.stages[each].generator,
        )
    return retrained


def _trained_critic(
    config: Config, run_dir: pathlib.Path, scale: int
) -> Optional[networks.Critic]:
    """The critic of a scale of a finished run; None where it has none."""
    if config.adversary.at(scale) != "critic":
        return None
    critic = networks.build_critic(config, scale)
    state = checkpoint.read_state(run_dir, scale)
    checkpoint.restore(run_dir, scale, state, {"critic": critic})
    return critic


def noise_amplitude(
    real: tf.Tensor, previous_reconstruction: tf.Tensor, weight: float
) -> tf.Tensor:
    """Standard deviation of the noise that a scale adds.

    The harder a scale is to reconstruct from the one below, the more it is allowed
    to invent (SinGAN, section 2 and the reference code).

    Args:
        real: The photograph at this scale, float32 [1, H, W, C] in [-1, 1].
        previous_reconstruction: The coarser reconstruction brought up to this
            scale, same shape.
        weight: Amplitude per unit of RMSE; 0.1 in the paper.

    Returns:
        Scalar float32.
    """
    return weight * tf.sqrt(tf.reduce_mean((real - previous_reconstruction) ** 2))


def write_samples(
    singan: SinGAN, real: tf.Tensor, seed: int, run_dir: pathlib.Path
) -> None:
    """Leaves a contact sheet: the photograph, then random samples."""
    logger.info("Drawing %d samples.", _SHEET_SAMPLES)
    sheet, captions = [real.numpy()], ["photograph"]
    for index in range(_SHEET_SAMPLES):
        sheet.append(singan.sample([seed + index]).numpy())
        captions.append(f"seed {seed + index}")
    images.write(
        run_dir / checkpoint.SAMPLES_NAME, images.contact_sheet(sheet, captions)
    )


def _make_players(
    config: Config,
    scale: int,
    palette: Optional[np.ndarray] = None,
    synchronized: bool = False,
    generator: Optional[networks.Generator] = None,
    critic_below: Optional[networks.Critic] = None,
) -> Players:
    """Creates a scale's networks and fresh optimizers.

    Args:
        config: Of the run.
        scale: The scale.
        palette: See `train_scale`.
        synchronized: See `networks.Generator`.
        generator: To start from, if any.
        critic_below: To start from, if any.
    """
    training = config.training
    stage = stages.build_convolutional_stage(config, scale, palette, synchronized)
    if generator is not None:
        _warm_start(stage.generator, generator)
    critic = critic_optimizer = None
    if config.adversary.at(scale) == "critic":
        critic = networks.build_critic(config, scale, synchronized)
        if critic_below is not None:
            _warm_start(critic, critic_below)
        critic_optimizer = _make_optimizer(
            training, training.critic_learning_rate, training.critic_updates, 0.0
        )
        critic_optimizer.build(critic.trainable_variables)
    generator_optimizer = _make_optimizer(
        training,
        training.generator_learning_rate,
        training.generator_updates if critic is not None else 1,
        training.moving_average,
    )
    # From here on, as the moving average begins at these weights.
    generator_optimizer.build(stage.generator.trainable_variables)
    return Players(stage, critic, generator_optimizer, critic_optimizer)


def _make_optimizer(
    config: TrainingConfig, learning_rate: float, updates: int, moving_average: float
) -> tf.keras.optimizers.Optimizer:
    """Adam for a scale; `updates` is how many there are in a step."""
    optimizer = tf.keras.optimizers.Adam(
        learning_rate_schedule(config, learning_rate, updates),
        config.beta1,
        config.beta2,
        _ADAM_EPSILON,
        use_ema=bool(moving_average),
        ema_momentum=moving_average,
    )
    if config.mixed_precision != "float16":
        return optimizer
    # The smallest of its gradients would be zero otherwise.
    return tf.keras.mixed_precision.LossScaleOptimizer(optimizer)


def _scales_loss(optimizer: tf.keras.optimizers.Optimizer) -> bool:
    return isinstance(optimizer, tf.keras.mixed_precision.LossScaleOptimizer)


def _scaled(optimizer: tf.keras.optimizers.Optimizer, loss: tf.Tensor) -> tf.Tensor:
    """A loss as its optimizer wants it differentiated."""
    return optimizer.get_scaled_loss(loss) if _scales_loss(optimizer) else loss


def _apply(
    optimizer: tf.keras.optimizers.Optimizer,
    tape: tf.GradientTape,
    loss: tf.Tensor,
    variables: list[tf.Variable],
) -> None:
    """Updates variables by the gradients of a loss that went through `_scaled`."""
    gradients = tape.gradient(loss, variables)
    if _scales_loss(optimizer):
        gradients = optimizer.get_unscaled_gradients(gradients)
    optimizer.apply_gradients(zip(gradients, variables))


def learning_rate_schedule(
    config: TrainingConfig, learning_rate: float, updates: int
) -> tf.keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate over the updates of a scale.

    Args:
        config: The kind of schedule, and the number of steps.
        learning_rate: At the first update.
        updates: In a step.

    Returns:
        A function of the number of updates done.
    """
    schedules = tf.keras.optimizers.schedules
    if config.learning_rate_schedule == "cosine":
        return schedules.CosineDecay(
            learning_rate, config.steps * updates, config.decay_factor
        )
    decayed = config.decay_factor if config.learning_rate_schedule == "step" else 1.0
    # A boundary belongs to the rate before it.
    boundary = round(config.steps * config.decay_at) * updates - 1
    return schedules.PiecewiseConstantDecay(
        [boundary], [learning_rate, learning_rate * decayed]
    )


def _warm_start(network: tf.keras.Model, below: tf.keras.Model) -> None:
    """Copies the weights of the scale below where the width is the same."""
    ours, theirs = network.get_weights(), below.get_weights()
    if [w.shape for w in ours] == [w.shape for w in theirs]:
        network.set_weights(theirs)


def _previous_reconstruction(coarser: SinGAN, scale: int) -> tf.Tensor:
    """The coarser reconstruction at this scale; zeros at scale 0."""
    size = coarser.sizes[scale]
    if scale == 0:
        return tf.zeros([1, *size, coarser.channels])
    return bring_up(coarser.reconstruct(), size)


def _make_step(
    run: Run,
    singan: SinGAN,
    coarser: SinGAN,
    players: Players,
    real: tf.Tensor,
    previous_reconstruction: tf.Tensor,
    pool: Optional[tf.Tensor] = None,
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Builds the training step of the finest scale that the pyramid has so far.

    Args:
        run: What stays the same from scale to scale.
        singan: The pyramid up to this scale.
        coarser: The pyramid below it, which stays as it is.
        players: What the step trains.
        real: The photograph, float32 [1, H, W, C] in [-1, 1].
        previous_reconstruction: The coarser reconstruction here, same shape.
        pool: See `train_scale`.

    Returns:
        A function of the step's number, int64, that updates the players and
        returns the losses, float32 [len(checkpoint.LOSS_COLUMNS)].
    """
    config, strategy = run.config, run.strategy
    training = config.training
    scale = len(coarser.stages)
    stage, critic, generator_optimizer, critic_optimizer = players
    local_batch = distribution.local_batch_size(strategy, training.global_batch_size)
    global_batch = local_batch * strategy.num_replicas_in_sync
    size = singan.sizes[scale]
    crop_size = tuple(min(training.crop_size or side, side) for side in size)
    whole = crop_size == size
    if pool is not None:
        pool = bring_up(pool, size)
        pool = pool if whole else stage.pad(pool)

    if critic is not None:
        draws, generator_updates = training.critic_updates, training.generator_updates
        adversarial_weight, real_stream = 1.0, noise.REAL_CROP_STREAM
    else:
        # There are no two players to keep in balance: a step is one update.
        draws, generator_updates = 1, 1
        adversarial_weight = patch_losses.weight(config.adversary, scale)
        distance = patch_losses.make(config.adversary, scale, real if whole else None)
        # Crops are compared at one place: the photograph's patches are not the same
        # everywhere, and a crop of a fake is not to resemble all of them.
        real_stream = noise.FAKE_CROP_STREAM

    texture = _texture_term(config, real if whole else None)

    def corners(seeds, stream):
        free = tf.constant([size[0] - crop_size[0], size[1] - crop_size[1]], tf.float32)
        # Uniform numbers are below 1, so every corner is equally likely.
        return tf.cast(noise.uniform(seeds, stream, 2) * (free + 1), tf.int32)

    def draw_seeds(step, update):
        counter = _counter(scale, step, update)
        seeds = noise.derive_seeds(training.seed, counter, global_batch)
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return tf.ensure_shape(
            seeds[replica * local_batch : (replica + 1) * local_batch], [local_batch]
        )

    def draw_previous(seeds):
        if pool is not None:
            choice = noise.uniform(seeds, noise.PREVIOUS_STREAM, 1)[:, 0]
            return tf.gather(pool, tf.cast(choice * pool.shape[0], tf.int32))
        if scale == 0:
            return tf.zeros([local_batch, *size, singan.channels])
        return bring_up(coarser.sample(seeds), size)

    def draw_fake_inputs(seeds):
        previous = draw_previous(seeds)
        if whole:
            return stage.padded_inputs(stage.noise(seeds, scale, *size), previous)
        if pool is None:
            previous = stage.pad(previous)
        at = corners(seeds, noise.FAKE_CROP_STREAM)
        return stage.padded_crop_inputs(seeds, scale, previous, at, crop_size)

    def crop_like_real(image, seeds, window):
        if whole:
            return tf.repeat(image, local_batch, axis=0)
        at = corners(seeds, real_stream)
        return stages.crop(image, at, window)

    def draw_reconstruction_inputs(seeds, step):
        noise_map = None
        if scale == 0:
            seed = _reconstruction_seed(training, step)
            noise_map = singan.draw_reconstruction_noise(seed)
        window = [side + 2 * networks.MARGIN for side in crop_size]
        inputs = stage.padded_inputs(noise_map, previous_reconstruction)
        return [crop_like_real(image, seeds, window) for image in inputs]

    def draw(step, update):
        seeds = draw_seeds(step, update)
        return (
            crop_like_real(real, seeds, crop_size),
            draw_fake_inputs(seeds),
            draw_reconstruction_inputs(seeds, step),
            seeds,
        )

    def update_critic(real_batch, fake_inputs, seeds):
        mixing = noise.uniform(seeds, noise.MIXING_STREAM, 1)[:, 0]
        fake = stage.generator(fake_inputs, training=True)
        with tf.GradientTape() as tape:
            on_real = losses.mean_score(critic(real_batch, training=True))
            on_fake = losses.mean_score(critic(fake, training=True))
            penalty = tf.zeros_like(on_real)
            if config.network.critic_constraint == "gradient_penalty":
                penalty = losses.gradient_penalty(
                    lambda x: critic(x, training=True), real_batch, fake, mixing
                )
            loss = on_fake - on_real + training.gradient_penalty_weight * penalty
            loss = _scaled(critic_optimizer, tf.reduce_sum(loss) / global_batch)
        _apply(critic_optimizer, tape, loss, critic.trainable_variables)
        return tf.reduce_sum([on_real, on_fake, penalty], axis=1) / global_batch

    def adversarial_term(fake, real_batch, seeds):
        if critic is not None:
            return -losses.mean_score(critic(fake, training=True))
        return distance(fake, real_batch, seeds)

    def update_generator(real_batch, fake_inputs, reconstruction_inputs, seeds):
        with tf.GradientTape() as tape:
            fake = stage.generator(fake_inputs, training=True)
            adversarial = adversarial_term(fake, real_batch, seeds)
            reconstruction = losses.reconstruction(
                stage.generator(reconstruction_inputs, training=True), real_batch
            )
            loss = adversarial_weight * adversarial
            loss += training.reconstruction_weight * reconstruction
            if texture is not None:
                loss += training.texture_weight * texture(fake, real_batch)
            loss = _scaled(generator_optimizer, tf.reduce_sum(loss) / global_batch)
        _apply(generator_optimizer, tape, loss, stage.generator.trainable_variables)
        return tf.reduce_sum([adversarial, reconstruction], axis=1) / global_batch

    def on_replicas(function):
        # A function of its own is traced once, however often a step repeats it.
        return tf.function(lambda *args: strategy.run(function, args), autograph=False)

    draw, update_critic, update_generator = map(
        on_replicas, (draw, update_critic, update_generator)
    )

    def total(terms):
        return strategy.reduce(tf.distribute.ReduceOp.SUM, terms, axis=None)

    @tf.function(jit_compile=training.xla or None, autograph=False)
    def step_function(step):
        on_critic = tf.zeros([3])
        for update in range(draws):
            real_batch, fake_inputs, reconstruction_inputs, seeds = draw(
                step, tf.constant(update, tf.int64)
            )
            if critic is not None:
                on_critic = total(update_critic(real_batch, fake_inputs, seeds))
        # The reference code reuses the last critic update's fake for all updates of
        # the generator; made anew from the same noise, it follows the weights.
        for _ in range(generator_updates):
            on_generator = update_generator(
                real_batch, fake_inputs, reconstruction_inputs, seeds
            )
        return tf.concat([on_critic, total(on_generator)], axis=0)

    return step_function


def _texture_term(
    config: Config, real: Optional[tf.Tensor]
) -> Optional[Callable[[tf.Tensor, tf.Tensor], tf.Tensor]]:
    """The texture loss of fakes against real images; None if there is none.

    Args:
        config: Of the run.
        real: The photograph, if every real image is the whole of it: it is then
            looked at once.
    """
    if not config.training.texture_weight:
        return None
    activations = vgg.load(config.runtime.vgg_weights)

    def grams(image):
        return [losses.gram(each) for each in activations(image)]

    once = None if real is None else grams(real)

    def term(fake, real_batch):
        return losses.texture(grams(fake), once or grams(real_batch))

    return term


def _draw_pool(
    singan: SinGAN, pool: Optional[tf.Tensor], config: TrainingConfig
) -> Optional[tf.Tensor]:
    """Samples that a scale trains on, from those that the scale below trained on.

    The same samples are carried from scale to scale: each costs a pass through one
    stage, where drawing new ones would cost a walk through all.

    Args:
        singan: The stages of the coarser scales.
        pool: Samples of all but the last of them, float32 [pool, h, w, C]; None before
            the second stage.
        config: How many.

    Returns:
        Samples of all stages, float32 [pool, H, W, C]; None without stages, or if
        there is to be no pool.
    """
    scale = len(singan.stages) - 1
    if scale < 0 or not config.previous_pool:
        return None
    counter = _counter(0, tf.constant(0, tf.int64), _POOL_DRAW)
    seeds = noise.derive_seeds(config.seed, counter, config.previous_pool)
    logger.info("Drawing %d samples of scale %d.", config.previous_pool, scale)
    return tf.concat(
        [
            singan.draw(
                scale, None if pool is None else pool[i : i + 1], seeds[i : i + 1]
            )
            for i in range(config.previous_pool)
        ],
        axis=0,
    )


def _draw_pool_of(singan: SinGAN, config: TrainingConfig) -> Optional[tf.Tensor]:
    """The pool as it has become at the last of the stages."""
    pool = None
    for count in range(1, len(singan.stages) + 1):
        pool = _draw_pool(singan.coarsest(count), pool, config)
    return pool


def _reconstruction_seed(config: TrainingConfig, step) -> tf.Tensor:
    """Seed of z* at a step of scale 0, by config.reconstruction_noise."""
    drawn_at = step if config.reconstruction_noise == "redrawn" else 0
    counter = _counter(0, tf.cast(drawn_at, tf.int64), _RECONSTRUCTION_DRAW)
    return noise.derive_seeds(config.seed, counter, 1)[0]


def _counter(scale: int, step: tf.Tensor, update: int) -> tf.Tensor:
    """Numbers every draw of a run, int64; at most 256 draws a step."""
    return (scale * 2**32 + step) * 2**8 + update


def _finish_stage(
    singan: SinGAN, players: Players, scale: int, config: TrainingConfig
) -> None:
    """Settles what a stage is from now on: averaged weights and z*."""
    if config.moving_average:
        variables = players.stage.generator.trainable_variables
        players.generator_optimizer.finalize_variable_values(variables)
    if scale == 0:
        seed = _reconstruction_seed(config, config.steps - 1)
        singan.set_reconstruction_noise(seed)


def _write_pictures(
    singan: SinGAN, scale: int, seed: int, run_dir: pathlib.Path
) -> tuple[tf.Tensor, tf.Tensor]:
    """Writes a fake and the reconstruction of a scale, and returns them."""
    fake, reconstruction = singan.sample([seed]), singan.reconstruct()
    folder = checkpoint.scale_dir(run_dir, scale)
    images.write(folder / "fake.png", fake.numpy())
    images.write(folder / "reconstruction.png", reconstruction.numpy())
    return fake, reconstruction


def _finite_rows(rows: list[tf.Tensor], scale: int) -> list[np.ndarray]:
    """The losses of some steps; refuses to go on, and to save, after divergence."""
    rows = [row.numpy() for row in rows]
    if not np.isfinite(rows).all():
        raise UserError(
            f"Training diverged at scale {scale}: a loss is not a number; lower "
            "--generator_learning_rate and --critic_learning_rate and pass --overwrite."
        )
    return rows
