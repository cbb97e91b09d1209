"""`python -m singan_tf.cli`, or this file's path: the same as the command `singan`."""

import os
import sys

if __name__ == "__main__":
    # Started by its path, Python would look for modules among those of this folder.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if path != here]

    from singan_tf.cli import entry

    sys.exit(entry.main())
