"""The command line of singan_tf: `python main.py COMMAND --flag=value ...`.

Reads top to bottom: the commands, then their flags, then the errors' way out. The
flags that configure a run are made from singan_tf.config, which documents them.
"""

import sys

if not (3, 9) <= sys.version_info[:2] <= (3, 11):
    sys.exit(
        "singan_tf needs Python 3.9 to 3.11, because tensorflow-addons ends at "
        "TensorFlow 2.15; this is Python {}.{}: make the virtual environment with "
        "python3.11.".format(*sys.version_info[:2])
    )

import contextlib
import difflib
import logging
import os
import pathlib
import shlex
import signal
import textwrap
from typing import Callable, NamedTuple

from absl import flags

from singan_tf import config as config_lib
from singan_tf.errors import UsageError, UserError

_HERE = pathlib.Path(__file__).resolve().parent
_DEMO_IMAGE = "hubble_deep_field"
_SHEET_SAMPLES = 49


def train(values: flags.FlagValues) -> None:
    """Train on one photograph, or resume."""
    _require(values, "image")
    config = config_lib.from_settings(
        {field.name: values[field.name].value for field in config_lib.settings()}
    )
    run_dir = values.run_dir or f"runs/{pathlib.Path(values.image).stem}"
    _train(values.image, pathlib.Path(run_dir), config, values.overwrite)


def demo(values: flags.FlagValues) -> None:
    """Train on a photograph of the Hubble deep field in a few minutes."""
    recipe = flags.FlagValues()
    _define_train(recipe)
    recipe([sys.argv[0], f"--flagfile={_HERE / 'configs' / 'quick.flags'}"])
    recipe.image = _DEMO_IMAGE
    recipe.run_dir = values.run_dir
    train(recipe)


def sample(values: flags.FlagValues) -> None:
    """Make new images of any size from a trained run."""
    run_dir, output_dir = _task_folders(values, "sample")
    import tqdm

    from singan_tf import checkpoint, images

    singan, _ = checkpoint.load(run_dir)
    last = len(singan.sizes) - 1
    if values.start_scale > last:
        raise UsageError(
            f"--start_scale={values.start_scale} must be from 0 to {last}, the scales "
            f"of the run in {run_dir}."
        )
    height, width = _output_size(values, singan.sizes)
    _make_output_dir(output_dir)
    sheet = [images.read(run_dir / "pyramid" / f"{last:02d}.png", singan.channels)]
    captions = ["photograph"]
    for index in tqdm.trange(values.num_samples, unit="sample", disable=None):
        seed = values.seed + index
        image = singan.sample([seed], values.start_scale, height, width).numpy()
        images.write(output_dir / f"seed_{seed:06d}.png", image)
        if index < _SHEET_SAMPLES:
            sheet.append(image)
            captions.append(f"seed {seed}")
    path = output_dir / "contact_sheet.png"
    images.write(path, images.contact_sheet(sheet, captions))
    print(f"Wrote {values.num_samples} samples of {width}x{height} and {path}")


def _train(
    image: str, run_dir: pathlib.Path, config: config_lib.Config, overwrite: bool
) -> None:
    from singan_tf import checkpoint, images, pyramid

    path = images.resolve(image)
    photograph = images.read(path, config.network.channels)
    facts = checkpoint.Photograph(
        path.name, *photograph.shape[1:3], images.sha256(path)
    )
    try:
        sizes = pyramid.plan_scales(facts.height, facts.width, config.pyramid).sizes
    except UserError as error:
        raise type(error)(f"{path}: {error}") from None
    lock = checkpoint.open_run(run_dir, config, facts, overwrite)
    with lock:
        if checkpoint.is_finished(run_dir, len(sizes)):
            print(f"The run in {run_dir} is finished.")
        else:
            _train_opened(photograph, config, run_dir, sizes)
            print(f"Wrote {run_dir}")
    print(f"Samples: {run_dir / checkpoint.SAMPLES_NAME}")
    print(f"More samples: python main.py sample --run_dir={shlex.quote(str(run_dir))}")


def _train_opened(photograph, config, run_dir, sizes) -> None:
    import tensorflow as tf

    from singan_tf import training
    from singan_tf.monitor import Monitor

    # The same weights from the same command, also after an interruption.
    tf.config.experimental.enable_op_determinism()
    monitor = Monitor(config, sizes, run_dir)
    try:
        with _signals_asked_about() as should_stop:
            training.train(photograph, config, run_dir, monitor, should_stop)
    except training.Interrupted:
        command = shlex.join(arg for arg in sys.argv if arg != "--overwrite")
        raise KeyboardInterrupt(f"all is saved; go on with: python {command}") from None
    finally:
        monitor.close()


@contextlib.contextmanager
def _signals_asked_about():
    """Turns Ctrl-C and SIGTERM into a question to ask between two steps."""
    asked = []

    def stop(number, frame):
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        print("\nStopping after this step (again to stop at once).", file=sys.stderr)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in zip(numbers, before):
            signal.signal(number, handler)


def _define_train(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "image",
        None,
        f"The photograph: a path, or a name that scikit-image carries, such as "
        f"{_DEMO_IMAGE}.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "run_dir", None, "The run folder; runs/NAME by default.", flag_values=values
    )
    flags.DEFINE_boolean(
        "overwrite", False, "Delete the run in --run_dir first.", flag_values=values
    )
    for field in config_lib.settings():
        _define_setting(values, field)


def _define_setting(values: flags.FlagValues, field) -> None:
    define = {
        bool: flags.DEFINE_boolean,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
    }[field.type]
    meaning = field.metadata["help"]
    if field.metadata["choices"]:
        meaning = f"{' | '.join(field.metadata['choices'])}. {meaning}"
    define(field.name, field.default, meaning, flag_values=values)


def _define_demo(values: flags.FlagValues) -> None:
    flags.DEFINE_string("run_dir", "runs/demo", "The run folder.", flag_values=values)


def _define_sample(values: flags.FlagValues) -> None:
    _define_task(values)
    flags.DEFINE_integer("num_samples", 50, "How many.", 1, 10**6, flag_values=values)
    flags.DEFINE_integer(
        "seed",
        0,
        "Of the first sample; the next ones count on from it.",
        0,
        2**62,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "start_scale",
        0,
        "Scales below it reproduce the photograph: the higher, the less changes.",
        0,
        flag_values=values,
    )
    for side in ("height", "width"):
        flags.DEFINE_integer(
            side,
            None,
            "Of a sample, in pixels; by default the photograph's, or what keeps its "
            "aspect ratio.",
            1,
            flag_values=values,
        )


def _define_task(values: flags.FlagValues) -> None:
    flags.DEFINE_string("run_dir", None, "A finished run.", flag_values=values)
    flags.DEFINE_string(
        "output_dir",
        None,
        "Where results go; outputs/RUN/COMMAND by default.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "overwrite", False, "Replace files in --output_dir.", flag_values=values
    )


class Command(NamedTuple):
    """A command: what it runs and which flags it takes."""

    run: Callable[[flags.FlagValues], None]
    define: Callable[[flags.FlagValues], None]


COMMANDS = {
    "train": Command(train, _define_train),
    "sample": Command(sample, _define_sample),
    "demo": Command(demo, _define_demo),
}


def _require(values: flags.FlagValues, name: str) -> None:
    if not values[name].value:
        raise UsageError(f"--{name} is missing: {values[name].help}")


def _task_folders(values: flags.FlagValues, command: str):
    """Checks the folders of a command on a finished run, before anything slow."""
    _require(values, "run_dir")
    run_dir = pathlib.Path(values.run_dir)
    name = run_dir.resolve().name
    output_dir = pathlib.Path(values.output_dir or f"outputs/{name}/{command}")
    if output_dir.exists() and not output_dir.is_dir():
        raise UserError(f"--output_dir={output_dir} is a file; name a folder.")
    if output_dir.is_dir() and any(output_dir.iterdir()) and not values.overwrite:
        raise UserError(
            f"--output_dir={output_dir} is not empty; name another folder, or pass "
            "--overwrite to replace files in it."
        )
    return run_dir, output_dir


def _make_output_dir(output_dir: pathlib.Path) -> None:
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--output_dir={output_dir} cannot be made ({error.strerror}); name "
            "another folder."
        ) from None


def _output_size(values: flags.FlagValues, sizes) -> tuple:
    """The size of a sample: as asked, or with the photograph's aspect ratio."""
    from singan_tf import images, networks

    full_height, full_width = sizes[-1]
    height, width = values.height, values.width
    if height is None:
        height = round(full_height * width / full_width) if width else full_height
    if width is None:
        width = round(full_width * height / full_height)
    for name, side, full, coarsest in (
        ("height", height, full_height, sizes[0][0]),
        ("width", width, full_width, sizes[0][1]),
    ):
        least = -(-full * (networks.MARGIN + 1) // coarsest)
        if side < least:
            raise UsageError(f"--{name}={side} must be at least {least} for this run.")
    if height * width > images.MAX_PIXELS:
        raise UsageError(
            f"--height={height} x --width={width} must be at most "
            f"{images.MAX_PIXELS // 10**6} megapixels."
        )
    return height, width


def _print_commands() -> None:
    print(
        "Usage: python main.py COMMAND [--flagfile=configs/NAME.flags] [--flag ...]\n"
    )
    for name, command in COMMANDS.items():
        print(f"  {name:10}{command.run.__doc__.splitlines()[0]}")
    print("\npython main.py COMMAND --help shows a command's flags.")


def _print_flags(name: str, values: flags.FlagValues) -> None:
    print(f"python main.py {name}: {COMMANDS[name].run.__doc__.splitlines()[0]}\n")
    for flag in (values[flag_name] for flag_name in values):
        print(f"  --{flag.name}={flag.default}")
        print(textwrap.indent(textwrap.fill(flag.help, 74), "      "))
    print("  --flagfile=FILE\n      Reads flags from a file.")


def _parse(argv: list) -> tuple:
    """The command and its parsed flags; None and None after printing help."""
    if len(argv) < 2 or argv[1] in ("-h", "--help", "-help", "help"):
        _print_commands()
        return None, None
    name = argv[1]
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(COMMANDS)}."
        raise UsageError(f"There is no command {name}: {hint}")
    values = flags.FlagValues()
    COMMANDS[name].define(values)
    if {"-h", "--help", "-help", "--helpfull"} & set(argv[2:]):
        _print_flags(name, values)
        return None, None
    try:
        rest = values([argv[0], *argv[2:]])
    except flags.Error as error:
        raise UsageError(" ".join(str(error).split())) from None
    if len(rest) > 1:
        raise UsageError(f"{rest[1]} is not a flag; flags look like --name=value.")
    return COMMANDS[name], values


def _set_up_process() -> None:
    """Shows the library's notices as plain lines, and hides TensorFlow's."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("singan_tf")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    # TensorFlow 2.15 reports its own duplicate CUDA plugins as errors at every
    # import; real errors arrive as exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main(argv: list) -> int:
    """Runs one command.

    Args:
        argv: As sys.argv.

    Returns:
        The exit status: 0, 1 for bad input, 2 for bad usage, 130 after Ctrl-C.
    """
    try:
        command, values = _parse(argv)
        if command:
            command.run(values)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except OSError as error:
        print(f"error: {error}; free some space or change the place.", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print(f"\nStopped: {stop}" if str(stop) else "\nStopped.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    _set_up_process()
    sys.exit(main(sys.argv))
