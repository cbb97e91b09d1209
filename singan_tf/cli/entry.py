"""Where a process of the command line begins; imports nothing that needs a version."""

import sys


def main() -> int:
    """Runs the command that the process was started with.

    Returns:
        The exit status, see `program.run`.
    """
    if not (3, 9) <= sys.version_info[:2] <= (3, 13):
        sys.exit(
            "singan_tf needs Python 3.9 to 3.13, for which there is a TensorFlow that "
            "it runs on; this is Python {}.{}: make the virtual environment with "
            "python3.13 or python3.11.".format(*sys.version_info[:2])
        )
    from singan_tf.cli import program

    program.set_up_process()
    return program.run(sys.argv)
