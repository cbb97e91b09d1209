"""The flags that several commands have, each defined once, and how they are read."""

from typing import Any, Optional, Union

from absl import flags

from singan_tf import config as config_lib
from singan_tf import presets
from singan_tf.cli import command_line
from singan_tf.schedule import ByScale, RealByScale

DEMO_IMAGE = "rocket"
# In place of the number of a scale.
ALL_SCALES = "all"


_IMAGE = (
    f"The photograph: a path, or a name that scikit-image carries, such as {DEMO_IMAGE}"
)


def define_image(values: flags.FlagValues, meaning: str = f"{_IMAGE}.") -> None:
    """Defines --image, which names one photograph."""
    command_line.define_path("image", None, meaning, values, once=True)


def define_images(values: flags.FlagValues) -> None:
    """Defines --image, which names one photograph or several: a list of texts."""
    flags.DEFINE_multi(
        command_line.PathParser(),
        flags.ArgumentSerializer(),
        "image",
        None,
        f"{_IMAGE}. One model is trained on several photographs, which may have any "
        "sizes, if they are given with commas between, each by a flag of its own, or "
        "as a folder.",
        flag_values=values,
    )


def define_transparent(values: flags.FlagValues) -> None:
    """Defines --transparent."""
    flags.DEFINE_enum(
        "transparent",
        "outside",
        ["outside", "white"],
        "outside: the transparent parts of a photograph are not learned; white: they "
        "lie on white, and are.",
        flag_values=values,
    )


def define_settings(values: flags.FlagValues) -> None:
    """Defines a flag for each setting of a run, and --preset for many at once."""
    flags.DEFINE_list(
        "preset",
        None,
        "The names of files of flags that come with the program, one or several with "
        f"commas between: {', '.join(presets.names())}. Of two that disagree the later "
        "one counts, and flags that are given themselves count before them.",
        flag_values=values,
    )
    for field in config_lib.settings():
        _define_setting(values, field)


class _StartScaleParser(flags.IntegerParser):
    """Reads the number of a scale, or that it is all of them."""

    def parse(self, argument: Any) -> Union[int, str]:
        """The number, or `ALL_SCALES`."""
        return ALL_SCALES if argument == ALL_SCALES else super().parse(argument)


class _ByScaleParser(flags.ArgumentParser):
    """Reads one number, or leaves a text of them by scale to the settings' check."""

    def __init__(self, number: flags.ArgumentParser):
        """Takes the parser of one number."""
        self._number = number

    def parse(self, argument: Union[ByScale, RealByScale]) -> Any:
        """The number, if it is one."""
        try:
            return self._number.parse(argument)
        except ValueError:
            return argument

    def flag_type(self) -> str:
        """The kind of the flag's value."""
        return "numbers by scale"


def _define_setting(values: flags.FlagValues, field: Any) -> None:
    meaning = field.metadata["help"]
    if field.metadata["path"]:
        command_line.define_path(field.name, field.default, meaning, values)
        return
    if field.type in (ByScale, RealByScale):
        whole = field.type == ByScale
        flags.DEFINE(
            _ByScaleParser(flags.IntegerParser() if whole else flags.FloatParser()),
            field.name,
            field.default,
            meaning,
            flag_values=values,
            serializer=flags.ArgumentSerializer(),
        )
        return
    define = {
        bool: flags.DEFINE_boolean,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
    }[field.type]
    if field.metadata["choices"]:
        meaning = f"{' | '.join(field.metadata['choices'])}. {meaning}"
    define(field.name, field.default, meaning, flag_values=values)


def read_presets(names: list[str]) -> flags.FlagValues:
    """The settings of some presets, the later ones before the earlier ones.

    Raises:
        UsageError: if one is not known or cannot be read.
    """
    recipe = flags.FlagValues()
    define_settings(recipe)
    files = [f"--flagfile={presets.path(name)}" for name in names]
    command_line.parse(recipe, ["preset", *files])
    return recipe


def apply_presets(values: flags.FlagValues) -> None:
    """Gives the settings of --preset to the flags that were not given themselves.

    From then on it is as if they had been given.

    Args:
        values: With the flags of `define_settings`, parsed; changed.

    Raises:
        UsageError: if a preset is not known or cannot be read.
    """
    recipe = read_presets(values.preset or [])
    for field in config_lib.settings():
        flag = values[field.name]
        if recipe[field.name].present and not flag.present:
            flag.value = recipe[field.name].value
            flag.present = 1


def given_settings(values: flags.FlagValues) -> list[str]:
    """The settings that were given, each as a flag."""
    return [
        values[field.name].serialize()
        for field in config_lib.settings()
        if values[field.name].present
    ]


def read_config(values: flags.FlagValues) -> config_lib.Config:
    """The configuration of a run, from the flags of `define_settings`.

    Raises:
        UsageError: if a setting is out of its range.
    """
    return config_lib.from_settings(
        {field.name: values[field.name].value for field in config_lib.settings()}
    )


def settings_as_flags(config: config_lib.Config) -> list[str]:
    """Every setting of a configuration as a flag, which gives it again."""
    values = flags.FlagValues()
    define_settings(values)
    for section in config_lib.to_json(config).values():
        for name, value in section.items():
            values[name].value = value
    return [values[field.name].serialize() for field in config_lib.settings()]


def define_task(values: flags.FlagValues) -> None:
    """Defines the folders of a command on a finished run."""
    command_line.define_path("run_dir", None, "The folder of a finished run.", values)
    command_line.define_path(
        "output_dir",
        None,
        "The folder for the results; outputs/RUN/COMMAND by default.",
        values,
    )
    flags.DEFINE_boolean(
        "overwrite", False, "Replace the files in --output_dir.", flag_values=values
    )


def define_num_samples(
    values: flags.FlagValues, meaning: str, default: int = 50
) -> None:
    """Defines --num_samples."""
    flags.DEFINE_integer("num_samples", default, meaning, 1, 10**6, flag_values=values)


def define_noise_scale(values: flags.FlagValues) -> None:
    """Defines --noise_scale."""
    flags.DEFINE_float(
        "noise_scale",
        1.0,
        "The factor of the noise of every scale: the higher, the more changes.",
        0,
        config_lib.MAX_NOISE_SCALE,
        flag_values=values,
    )


def define_seed(
    values: flags.FlagValues, meaning: str = "The seed of the noise."
) -> None:
    """Defines --seed."""
    flags.DEFINE_integer("seed", 0, meaning, 0, config_lib.MAX_SEED, flag_values=values)


def define_start_scale(
    values: flags.FlagValues, default: int, meaning: str, or_all: bool = False
) -> None:
    """Defines --start_scale.

    Args:
        values: Where it is defined.
        default: The scale where it is not given.
        meaning: The line of help.
        or_all: Whether it may be `ALL_SCALES`, too.
    """
    parser = _StartScaleParser if or_all else flags.IntegerParser
    flags.DEFINE(
        parser(lower_bound=0),
        "start_scale",
        default,
        meaning,
        flag_values=values,
        serializer=flags.ArgumentSerializer(),
    )


def define_workers(values: flags.FlagValues, what: str) -> None:
    """Defines --workers.

    Args:
        values: Where it is defined.
        what: What each of them trains on, such as "photographs".
    """
    flags.DEFINE_integer(
        "workers",
        1,
        f"The number of {what} that are trained at a time, each with its share of the "
        "cores.",
        1,
        256,
        flag_values=values,
    )


def define_beam_flags(
    values: flags.FlagValues, default: Optional[str], use: str
) -> None:
    """Defines --beam_flags.

    Args:
        values: Where it is defined.
        default: None where Beam is not used without it.
        use: What it is for.
    """
    flags.DEFINE_string(
        "beam_flags",
        default,
        f"{use}: flags of its pipeline, such as '--runner=FlinkRunner "
        "--flink_master=HOST:8081'; without --runner, this machine.",
        flag_values=values,
    )
