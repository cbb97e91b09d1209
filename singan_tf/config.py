"""Every setting of a run: its default, its range, its meaning; nothing else.

The defaults are the reference recipe (tamarott/SinGAN), but for two that
configs/paper.flags names. The command line makes its flags from these fields, and
a run folder stores them as JSON, so a setting is written down here and nowhere
else. Standard library only.
"""

import dataclasses
from typing import Any

from singan_tf.errors import UsageError, UserError
from singan_tf.schedule import ADVERSARIES as ADVERSARIES
from singan_tf.schedule import (
    NORMALIZATIONS,
    PADDINGS,
    read_names,
    read_schedule,
    value_at,
)
from singan_tf.settings import Section, setting
from singan_tf.training_settings import CRITIC_SIDE as CRITIC_SIDE
from singan_tf.training_settings import TrainingConfig as TrainingConfig

# The noise of a sample, as a multiple of what training saw: for all commands and
# served models.
MAX_NOISE_SCALE = 10
# The most colours of a photograph that a painting is snapped to.
MAX_COLOURS = 64

# Of an image that is read, or made in one piece.
MAX_PIXELS = 100_000_000
# A seed is the first of several that are counted on, all below 2^63.
MAX_SEED = 2**62


@dataclasses.dataclass(frozen=True)
class PyramidConfig(Section):
    """Sizes of the scales (SinGAN, section 2; arithmetic of the reference code)."""

    min_size: int = setting(25, "The shorter side of the coarsest scale, in pixels.", 8)
    max_size: int = setting(
        250,
        "The longest side of the finest scale, in pixels; larger photographs are "
        "shrunk to it, smaller ones keep their size.",
        8,
    )
    scale_factor: float = setting(
        0.75,
        "The ratio of the sizes of adjacent scales, before it is fitted so that the "
        "coarsest shorter side is exactly --min_size.",
        0.1,
        0.95,
    )
    num_scales: int = setting(
        0, "The number of scales; 0 derives it from --scale_factor.", 0, 64
    )


# A number of scales that `settle` chooses.
AUTO = -1
# The longest side of a scale that patches make in reasonable time.
_PATCHED_SIDE = 160


@dataclasses.dataclass(frozen=True)
class LayoutConfig(Section):
    """Coarse scales that patch matching makes, without training (`PatchStage`)."""

    patch_scales: int = setting(
        0,
        "The number of coarsest scales that are not trained, but put together from "
        "patches of the photograph; with as many as there are or more, nothing is "
        "trained; -1: those of up to 160 pixels, but not the two finest, and with "
        "--patch_votes all but the finest.",
        AUTO,
        64,
    )
    patch_iterations: int = setting(
        5,
        "The number of times that a scale of patches replaces all of them by their "
        "nearest.",
        1,
        100,
    )
    patch_votes: bool = setting(
        False,
        "Whether overlapping patches count by how well each fits, rather than alike; "
        "large scales are then searched near the matches of smaller ones.",
    )
    patches_compete: bool = setting(
        False,
        "Whether a scale that is trained, other than the coarsest, is made of patches "
        "as well, and the samples nearer to the photograph decide which of the two "
        "stays.",
    )
    layout_shift: float = setting(
        0.0,
        "The least shift of the photograph's content at the coarsest scale of patches: "
        "the standard deviation, as a share of the longer side.",
        0,
        1,
    )
    layout_diversity: float = setting(
        0.5,
        "The least difference of layouts of patches: the standard deviation of a pixel "
        "over them, as a share of the photograph's own. The shift for it is found; 0 "
        "takes --layout_shift.",
        0,
        1,
    )


@dataclasses.dataclass(frozen=True)
class NetworkConfig(Section):
    """Architecture of generators and critics."""

    channels: int = setting(
        3, "The number of colour channels: 3 in colour, 1 in grey.", 1, 3
    )
    width: int = setting(32, "The number of feature channels at scale 0.", 1, 1024)
    max_width: int = setting(128, "The most feature channels of any scale.", 1, 1024)
    width_doubling: int = setting(
        4, "The number of scales after which feature channels double; 0 never.", 0
    )
    padding: str = setting(
        "zeros",
        f"{' | '.join(PADDINGS)}, at every scale or by scale, such as "
        "0-3:zeros,4-:reflect. The surroundings of the image: zeros; its reflection; "
        "itself, wrapped around (seamless tiles); or noise, with the previous image in "
        "zeros (animation).",
    )
    generator_normalization: str = setting(
        "batch",
        f"{' | '.join(NORMALIZATIONS)}, at every scale or by scale, such as "
        "0-3:batch,4-:none. The normalisation in the generator.",
    )
    critic_normalization: str = setting(
        "batch",
        "The normalisation in the critic.",
        choices=NORMALIZATIONS,
    )
    residual: bool = setting(
        True, "Add the previous image to the generator's output (SinGAN, eq. 5)."
    )
    critic_constraint: str = setting(
        "gradient_penalty",
        "The constraint that keeps the critic 1-Lipschitz.",
        choices=("gradient_penalty", "spectral"),
    )

    def __post_init__(self):
        """Checks the fields.

        Raises:
            UsageError: if a value is out of its range, or a scale is left without a
                padding or a normalisation.
        """
        super().__post_init__()
        # Any scale's: each reads the whole text, and refuses it.
        self.padding_at(0)
        self.generator_normalization_at(0)
        if self.channels == 2:
            raise UsageError("--channels=2 must be 1 or 3.")
        if self.width > self.max_width:
            raise UsageError(
                f"--width={self.width} must be at most --max_width={self.max_width}."
            )

    def padding_at(self, scale: int) -> str:
        """The padding at a scale: one of `PADDINGS`."""
        return value_at(read_names("padding", self.padding, PADDINGS), scale)

    def generator_normalization_at(self, scale: int) -> str:
        """The generator's normalisation at a scale: one of `NORMALIZATIONS`."""
        name, text = "generator_normalization", self.generator_normalization
        return value_at(read_names(name, text, NORMALIZATIONS), scale)


@dataclasses.dataclass(frozen=True)
class AdversaryConfig(Section):
    """What a generator is trained against: a critic, distances of patches, or both."""

    adversary: str = setting(
        "critic",
        f"{' | '.join(ADVERSARIES)}, or several at once such as "
        "critic+sliced_wasserstein, at every scale or by scale, such as "
        "0-3:critic,4-:sliced_wasserstein. At a scale without a critic a step is one "
        "update of the generator.",
    )
    patch_weight: float = setting(
        1.0, "Weight of a distance, as a multiple of the one that suits it.", 0
    )
    patch_size: int = setting(7, "Side of a distance's patches, in pixels.", 1)
    patch_stride: int = setting(1, "Pixels from one patch to the next.", 1)
    patch_count: int = setting(
        4096,
        "Patches compared in an update, drawn at random; 0 compares all. The Frechet "
        "distance always takes all.",
        0,
    )
    patch_projections: int = setting(
        64, "Random directions of the sliced Wasserstein distance in an update.", 1
    )
    patch_memory: int = setting(
        256, "MiB that a search for nearest neighbours may hold.", 1
    )
    patch_alignment: str = setting(
        "covariance",
        "What aligned_nearest_neighbor aligns first: the covariance of patches, or "
        "only the variance of each value.",
        choices=("covariance", "variance"),
    )

    def __post_init__(self):
        """Checks the fields.

        Raises:
            UsageError: if a value is out of its range, or the schedule is not one.
        """
        super().__post_init__()
        read_schedule(self.adversary)

    def at(self, scale: int) -> str:
        """The adversary at a scale: one of `ADVERSARIES`, or several joined by +."""
        return value_at(read_schedule(self.adversary), scale)

    def names_at(self, scale: int) -> list[str]:
        """Those of `ADVERSARIES` that push at once at a scale, in their order there."""
        return sorted(self.at(scale).split("+"), key=ADVERSARIES.index)

    def has_critic(self, scale: int) -> bool:
        """Whether a critic is trained at a scale."""
        return "critic" in self.names_at(scale)


@dataclasses.dataclass(frozen=True)
class RuntimeConfig(Section):
    """How a run is carried out; it may change between a run and its resumption."""

    strategy: str = setting(
        "auto",
        "The devices to train on; auto: every GPU when there are several over which "
        "--global_batch_size can be split, else one device; mirrored: every GPU, or "
        "logical CPU; multi_worker: those of all machines in TF_CONFIG.",
        choices=("auto", "one_device", "mirrored", "multi_worker"),
    )
    checkpoint_seconds: float = setting(
        60.0,
        "The least time between two checkpoints of a scale, in seconds; 0 saves after "
        "every step.",
        0,
    )
    log_steps: int = setting(
        10,
        "The number of steps between TensorBoard points and between plain log lines.",
        1,
    )
    metric_steps: int = setting(
        100,
        "The number of steps between measurements of a sample: its SIFID, or without "
        "weights the Frechet distance of patches; 0 measures at the end of each scale "
        "only.",
        0,
    )
    inception_weights: str = setting(
        "",
        "The weights for SIFID, see `evaluate`; the empty default does without.",
        path=True,
    )
    vgg_weights: str = setting(
        "",
        "The weights for --texture_weight: a path of Keras' VGG16 without top in .h5, "
        "or download.",
        path=True,
    )


@dataclasses.dataclass(frozen=True)
class Config:
    """The whole configuration of a run."""

    pyramid: PyramidConfig = PyramidConfig()
    layout: LayoutConfig = LayoutConfig()
    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()
    adversary: AdversaryConfig = AdversaryConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    def __post_init__(self):
        """Checks what concerns two sections.

        Raises:
            UsageError: if patches do not fit into the smallest image that is seen,
                there are no weights for a texture loss, or XLA would have to compile
                patch matching.
        """
        training = self.training
        if self.layout.patch_scales:
            _check_compiled(self, f"--patch_scales={self.layout.patch_scales}")
        if training.texture_weight and not self.runtime.vgg_weights:
            raise UsageError("--texture_weight needs --vgg_weights.")
        patch = self.adversary.patch_size
        for name, side in (
            ("min_size", self.pyramid.min_size),
            *(("crop_size", side) for side in training.crop_sides()),
        ):
            if patch > side:
                raise UsageError(
                    f"--patch_size={patch} must be at most --{name}={side}."
                )

    def steps_at(self, scale: int) -> int:
        """Training steps at a scale; none where patch matching makes it.

        Raises:
            ValueError: if the number of patch scales is not settled.
        """
        if self.layout.patch_scales == AUTO:
            raise ValueError("settle() chooses the number of patch scales first")
        return self.training.at(scale).steps if scale >= self.layout.patch_scales else 0


def settle(config: Config, sizes: list[tuple[int, int]]) -> Config:
    """The configuration of a run whose scales are known.

    Args:
        config: As asked for.
        sizes: (height, width) of the scales, coarse to fine.

    Returns:
        The same, with a number of patch scales.

    Raises:
        UserError: if a scale is too small for its critic.
        UsageError: if XLA would have to compile patch matching.
    """
    # Patches that win the finest scale are nothing that a scale is trained on.
    if config.layout.patches_compete and len(sizes) > 2:
        _check_compiled(config, "--patches_compete")
    if config.layout.patch_scales == AUTO:
        count = len(sizes) - 1
        if not config.layout.patch_votes:
            small = sum(max(size) <= _PATCHED_SIDE for size in sizes)
            count = max(min(small, count - 1), 0)
        layout = dataclasses.replace(config.layout, patch_scales=count)
        config = dataclasses.replace(config, layout=layout)
    _check_critics(config, sizes)
    return config


def _check_compiled(config: Config, cause: str) -> None:
    """Refuses patches, which `cause` brings about, within what XLA compiles."""
    if config.training.xla and not config.training.previous_pool:
        raise UsageError(
            f"--xla cannot compile the patch matching of {cause}; draw previous images "
            "once, such as by --previous_pool=16, or leave out --xla."
        )


def _check_critics(config: Config, sizes: list[tuple[int, int]]) -> None:
    """Refuses scales that are smaller than what a score of their critic sees."""
    small = [scale for scale, size in enumerate(sizes) if min(size) < CRITIC_SIDE]
    scored = [
        scale
        for scale in small
        if config.steps_at(scale) and config.adversary.has_critic(scale)
    ]
    if not scored:
        return
    scale = scored[0]
    height, width = sizes[scale]
    way = "a larger or less narrow photograph"
    if min(sizes[-1]) >= CRITIC_SIDE:
        way = f"--min_size={CRITIC_SIDE} or more"
    raise UserError(
        f"Scale {scale} has {width}x{height} pixels, but a critic sees {CRITIC_SIDE} "
        f"in each direction; use {way}, or --patch_scales={small[-1] + 1}, which makes "
        "small scales without a critic."
    )


SECTIONS: dict[str, Any] = {
    field.name: field.type for field in dataclasses.fields(Config)
}


def settings() -> list[dataclasses.Field]:
    """Returns every setting of every section, in order."""
    return [
        field for section in SECTIONS.values() for field in dataclasses.fields(section)
    ]


def from_settings(values: dict[str, Any]) -> Config:
    """Builds a Config from a flat mapping of setting name to value.

    Args:
        values: Values by name; what is missing keeps its default.

    Returns:
        A checked Config.

    Raises:
        UsageError: if a name is unknown or a value is out of its range.
    """
    unknown = set(values) - {field.name for field in settings()}
    if unknown:
        raise UsageError(f"There is no setting named {', '.join(sorted(unknown))}.")
    return Config(
        **{
            name: section(
                **{
                    f.name: values[f.name]
                    for f in dataclasses.fields(section)
                    if f.name in values
                }
            )
            for name, section in SECTIONS.items()
        }
    )


def to_json(config: Config) -> dict[str, dict[str, Any]]:
    """Returns the settings as nested dicts of JSON values, section by section."""
    return dataclasses.asdict(config)


def from_json(data: dict[str, dict[str, Any]]) -> Config:
    """Inverse of `to_json`.

    Raises:
        UserError: if the data is not a configuration.
    """
    try:
        flat = {key: value for part in data.values() for key, value in part.items()}
    except AttributeError:
        raise UserError("The stored configuration is not a mapping.") from None
    return from_settings(flat)


def differences(old: Config, new: Config) -> list[str]:
    """Settings that would change a run's result, as "name: old -> new".

    Args:
        old: What a run was started with.
        new: What it would go on with.

    Returns:
        One entry for each differing setting outside `RuntimeConfig`.
    """
    found = []
    for name in SECTIONS:
        if name == "runtime":
            continue
        before = dataclasses.asdict(getattr(old, name))
        after = dataclasses.asdict(getattr(new, name))
        found += [
            f"--{key}: {before[key]} -> {after[key]}"
            for key in before
            if before[key] != after[key]
        ]
    return found
