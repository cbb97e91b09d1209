"""Adam as the recipe has it: its update, learning rate and gradients in 16 bits."""

import tensorflow as tf

from singan_tf.config import TrainingConfig
from singan_tf.keras2 import keras

# Adam's in PyTorch, which the recipe was tuned with; Keras' own is 1e-7.
ADAM_EPSILON = 1e-8


class FusedAdam(keras.optimizers.Adam):
    """Keras' Adam, each variable of which is updated by one operation.

    Its own update is a dozen operations a variable, which are a quarter of what the
    first step of a scale takes: that builds and optimizes the graph of the step. The
    formula is the same (Kingma and Ba 2015, before section 2.1), and so are the
    optimizer's variables.
    """

    def build(self, var_list):
        """Makes the optimizer's variables, in the scope of the strategy."""
        super().build(var_list)
        if hasattr(self, "_moments_of"):
            # Keras builds it again, to no effect, whenever gradients are applied.
            return
        local = tf.distribute.get_strategy().experimental_local_results
        # After what all optimizers have come both moments of each variable.
        moments = self.variables[-2 * len(var_list) :]
        slots = {}
        for variable, *both in zip(var_list, moments[::2], moments[1::2]):
            for parts in zip(*map(local, (variable, *both))):
                slots[parts[0].ref()] = parts[1:]
        # A checkpoint would take a dictionary for a part of the optimizer.
        self._moments_of = slots.__getitem__

    def update_step(self, gradient, variable):
        """Updates a variable and its moments by a dense gradient."""
        first, second = self._moments_of(variable.ref())
        dtype = first.dtype
        step = tf.cast(self.iterations + 1, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=first.handle,
            v=second.handle,
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=tf.cast(self.learning_rate, dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


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
    optimizer = FusedAdam(
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
    found = gradients(optimizer, tape, loss, variables)
    optimizer.apply_gradients(zip(found, variables))


def gradients(
    optimizer: keras.optimizers.Optimizer,
    tape: tf.GradientTape,
    loss: tf.Tensor,
    sources: list,
) -> list[tf.Tensor]:
    """The gradients of a loss that went through `scaled`, as if it had not."""
    found = tape.gradient(loss, sources)
    return optimizer.get_unscaled_gradients(found) if _scales_loss(optimizer) else found


def _scales_loss(optimizer: keras.optimizers.Optimizer) -> bool:
    return isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer)
