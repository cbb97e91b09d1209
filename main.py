"""The command line of a checkout: `python main.py COMMAND --flag=value ...`.

An installed package has the command `singan` for the same.
"""

import sys

from singan_tf.cli import entry


# An older Python reads this file before it is told so.
def main(argv: list) -> int:
    """Runs one command in this process.

    Args:
        argv: As sys.argv.

    Returns:
        The exit status, see `singan_tf.cli.program.run`.
    """
    from singan_tf.cli import program

    return program.run(argv)


if __name__ == "__main__":
    sys.exit(entry.main())
