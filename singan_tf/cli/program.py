"""The command line of singan_tf: all its commands, and how its process is set up."""

import logging
from collections.abc import Sequence

import singan_tf
from singan_tf import stack
from singan_tf.cli import (
    command_line,
    commands,
    evaluation,
    exporting,
    launch,
    many,
    outpainting,
    quiet,
    redrawing,
    sampling,
    studio,
    tiling,
    train,
)

COMMANDS = (
    train.TRAIN,
    sampling.SAMPLE,
    sampling.SUPER_RESOLVE,
    redrawing.PAINT,
    redrawing.TRANSFER,
    redrawing.HARMONIZE,
    redrawing.EDIT,
    redrawing.INPAINT,
    outpainting.OUTPAINT,
    tiling.TILE,
    sampling.ANIMATE,
    evaluation.EVALUATE,
    evaluation.SHRINK_INCEPTION,
    evaluation.REPORT,
    many.STUDY,
    many.FLEET,
    exporting.EXPORT,
    exporting.VERIFY,
    exporting.SERVE,
    studio.STUDIO,
    train.DEMO,
)


def run(argv: Sequence[str]) -> int:
    """Runs one command.

    Args:
        argv: As sys.argv.

    Returns:
        The exit status: 0, 1 for bad input, 2 for bad usage, 75 when a worker of a
        cluster is lost, 130 after Ctrl-C.
    """
    return commands.run(
        COMMANDS,
        argv,
        launch.name(argv[0]),
        usage="COMMAND [--preset=NAME] [--flagfile=FILE] [--flag ...]",
        version=_version,
    )


def _version() -> str:
    found = stack.versions()
    return (
        f"singan_tf {singan_tf.__version__} (Python {found['python']}, TensorFlow "
        f"{found['tensorflow']}, Keras {found['keras']})"
    )


def set_up_process() -> None:
    """Shows the libraries' notices as plain lines, and hides TensorFlow's."""
    command_line.set_up_streams()
    handler = logging.StreamHandler()
    handler.setFormatter(command_line.Formatter("%(message)s"))
    for name in ("singan_tf", "export"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False
    quiet.hush()
    # It warns of graphs made again, which each of a study's runs needs.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
