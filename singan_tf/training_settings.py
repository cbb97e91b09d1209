"""The settings of a scale's optimisation, a section of `config.Config`."""

import dataclasses
from typing import NamedTuple

from singan_tf.errors import UsageError
from singan_tf.schedule import ByScale, RealByScale, read_numbers, value_at
from singan_tf.settings import Section, setting

# What a score of a critic sees in each direction, in pixels.
CRITIC_SIDE = 11


class ScaleNumbers(NamedTuple):
    """What one scale has of the settings that may be given by scale."""

    steps: int
    critic_updates: int
    generator_updates: int
    schedule_steps: int
    crop_size: int
    critic_learning_rate: float
    generator_learning_rate: float


@dataclasses.dataclass(frozen=True)
class TrainingConfig(Section):
    """The optimisation of one scale; `at` has what differs from scale to scale."""

    steps: ByScale = setting(
        2000,
        "The number of training steps at each scale; or by scale, such as "
        "0-4:2000,5-:500.",
        1,
    )
    critic_updates: ByScale = setting(
        3, "The number of updates of the critic in a step; or by scale.", 1, 100
    )
    generator_updates: ByScale = setting(
        3, "The number of updates of the generator in a step; or by scale.", 1, 100
    )
    global_batch_size: int = setting(
        0,
        "The number of samples in an update, split evenly over the devices; 0 is one a "
        "device.",
        0,
    )
    critic_learning_rate: RealByScale = setting(
        5e-4,
        "The learning rate of Adam for the critic; or by scale, such as "
        "0-3:0.0005,4-:0.001.",
        0,
    )
    generator_learning_rate: RealByScale = setting(
        5e-4, "The learning rate of Adam for the generator; or by scale.", 0
    )
    beta1: float = setting(
        0.5, "The decay of Adam's mean of gradients, its beta 1.", 0, 0.9999
    )
    beta2: float = setting(
        0.999, "The decay of Adam's mean of squares, its beta 2.", 0, 0.999999
    )
    learning_rate_schedule: str = setting(
        "step",
        "The course of the learning rate; step: times --decay_factor from --decay_at "
        "on; cosine: down to --decay_factor at the last step; constant.",
        choices=("step", "cosine", "constant"),
    )
    decay_at: float = setting(
        0.8, "The share of the steps after which the step schedule decays.", 0, 1
    )
    decay_factor: float = setting(
        0.1, "The share of the learning rate that is left after its decay.", 0, 1
    )
    schedule_steps: ByScale = setting(
        0,
        "The number of steps that the course of the learning rate takes, whose end "
        "later steps keep; 0: all of the scale; or by scale. --continue_steps sets it.",
        0,
    )
    gradient_penalty_weight: float = setting(
        0.1, "The weight of the critic's gradient penalty.", 0
    )
    reconstruction_weight: float = setting(
        10.0, "The weight of the reconstruction loss (alpha in the paper).", 0
    )
    texture_weight: float = setting(
        0.0,
        "The weight of a texture loss, which compares activations of VGG16; needs "
        "--vgg_weights.",
        0,
    )
    noise_amplitude_weight: float = setting(
        0.1, "The noise amplitude of a scale per unit of reconstruction RMSE.", 0
    )
    reconstruction_noise: str = setting(
        "redrawn",
        "The noise z* at scale 0: redrawn at each step, the last draw kept (the "
        "reference code), or fixed from the start (the paper).",
        choices=("redrawn", "fixed"),
    )
    adversary_gradient: str = setting(
        "renewed",
        "What moves the fake in a step's updates of the generator: the adversary's "
        "gradient there, renewed at each update, or that of the first one, reused in "
        "all (as the reference code reuses a fake).",
        choices=("renewed", "reused"),
    )
    crop_size: ByScale = setting(
        0,
        "The side of random crops to train on, in pixels, so that time and memory "
        "stop growing with the photograph; 0 trains on full frames; or by scale, such "
        "as 0-4:0,5-:96.",
        0,
    )
    previous_pool: int = setting(
        0,
        "The number of samples that are drawn once, carried from scale to scale, and "
        "used as previous images throughout; 0 draws a fresh one for every update.",
        0,
        1024,
    )
    moving_average: float = setting(
        0.0,
        "The decay of a moving average of the generator's weights; 0 is none.",
        0,
        1,
    )
    keep_best: int = setting(
        0,
        "The number of steps from one measurement of a scale's samples to the next: "
        "the generator keeps the weights whose samples are nearest to the photograph; "
        "0: the last ones.",
        0,
    )
    mixed_precision: str = setting(
        "none",
        "The arithmetic of convolutions: bfloat16 and float16 are of 16 bits; losses, "
        "the gradient penalty's norm and weights stay in 32.",
        choices=("none", "bfloat16", "float16"),
    )
    xla: bool = setting(
        False,
        "Compile the training step with XLA, for one device, which draws other random "
        "numbers; on CPUs it is slower.",
    )
    seed: int = setting(0, "The seed of every random number.", 0, 2**31 - 1)

    def __post_init__(self):
        """Checks the fields.

        Raises:
            UsageError: if a value is out of its range.
        """
        super().__post_init__()
        if self.moving_average == 1:
            raise UsageError("--moving_average=1 never learns; choose a value below 1.")
        if any(side < 16 for side in self.crop_sides()):
            raise UsageError(
                f"--crop_size={self.crop_size} must be 0 (full frames) or at least 16: "
                f"a score of the critic sees {CRITIC_SIDE} pixels."
            )

    def at(self, scale: int) -> ScaleNumbers:
        """The numbers of a scale."""
        return ScaleNumbers._make(
            value_at(read_numbers(name, getattr(self, name)), scale)
            for name in ScaleNumbers._fields
        )

    def crop_sides(self) -> list[int]:
        """The sides of crops of all scales that train on crops, in pixels."""
        ranges = read_numbers("crop_size", self.crop_size)
        return [int(side) for _, side in ranges if side]
