"""Adam as the recipe has it: its learning rate, and its gradients in 16 bits."""

import tensorflow as tf

from singan_tf.config import TrainingConfig
from singan_tf.keras2 import keras

# Adam's in PyTorch, which the recipe was tuned with; Keras' own is 1e-7.
ADAM_EPSILON = 1e-8


def make_optimizer(
    config: TrainingConfig,
    steps: int,
    learning_rate: float,
    updates: int,
    moving_average: float,
) -> keras.optimizers.Optimizer:
    """Makes Adam for one network of a scale.

    Args:
        config: The betas, the schedule and the precision.
        steps: The number of steps of the learning rate's course.
        learning_rate: At the first update.
        updates: The number of updates in a step.
        moving_average: The decay of a moving average of the weights; 0 keeps none.

    Returns:
        The optimizer, whose variables do not exist yet.
    """
    optimizer = keras.optimizers.Adam(
        learning_rate_schedule(config, steps, learning_rate, updates),
        config.beta1,
        config.beta2,
        ADAM_EPSILON,
        use_ema=bool(moving_average),
        ema_momentum=moving_average,
    )
    if config.mixed_precision != "float16":
        return optimizer
    # The smallest of its gradients would be zero otherwise.
    return keras.mixed_precision.LossScaleOptimizer(optimizer)


def learning_rate_schedule(
    config: TrainingConfig, steps: int, learning_rate: float, updates: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate over the updates of a scale.

    Args:
        config: The kind of schedule.
        steps: The number of steps of the learning rate's course.
        learning_rate: At the first update.
        updates: The number of updates in a step.

    Returns:
        A function of the number of updates done.
    """
    schedules = keras.optimizers.schedules
    if config.learning_rate_schedule == "cosine":
        return schedules.CosineDecay(
            learning_rate, steps * updates, config.decay_factor
        )
    decayed = config.decay_factor if config.learning_rate_schedule == "step" else 1.0
    # A boundary belongs to the rate before it.
    boundary = round(steps * config.decay_at) * updates - 1
    return schedules.PiecewiseConstantDecay(
        [boundary], [learning_rate, learning_rate * decayed]
    )


def scaled(optimizer: keras.optimizers.Optimizer, loss: tf.Tensor) -> tf.Tensor:
    """A loss as its optimizer wants it differentiated."""
    return optimizer.get_scaled_loss(loss) if _scales_loss(optimizer) else loss


def apply(
    optimizer: keras.optimizers.Optimizer,
    tape: tf.GradientTape,
    loss: tf.Tensor,
    variables: list[tf.Variable],
) -> None:
    """Updates variables by the gradients of a loss that went through `scaled`."""
    gradients = tape.gradient(loss, variables)
    if _scales_loss(optimizer):
        gradients = optimizer.get_unscaled_gradients(gradients)
    optimizer.apply_gradients(zip(gradients, variables))


def _scales_loss(optimizer: keras.optimizers.Optimizer) -> bool:
    return isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer)
