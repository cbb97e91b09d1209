"""The import of TensorFlow without what it tells of itself.

Before its log is set up, TensorFlow 2.21 writes to file 2 whatever level is asked for,
in two copies. A process of its own lets everything else through, so what the import
says before it aborts, for lack of memory or of a processor's instructions, is seen.
"""

import contextlib
import importlib.abc
import importlib.util
import os
import re
import signal
import sys
from collections.abc import Iterator

# Of infos, warnings and errors, such as that there is no GPU: what keeps it from
# working is fatal, or arrives as an exception.
_NOISE = re.compile(
    rb"[IWE]\d{4} \d\d:\d\d:|[\d-]{10} \d\d:\d\d:[\d.]+: [IWE] "
    rb"|WARNING: All log messages before absl::InitializeLog"
    rb"|To enable the following instructions: "
)


def hush() -> None:
    """Has TensorFlow imported quietly, and quiet afterwards, in this process.

    Whoever asks for its log, by TF_CPP_MIN_LOG_LEVEL, gets it.
    """
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "3":
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader):
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self._loader
        with _filtered():
            self._loader.exec_module(module)


@contextlib.contextmanager
def _filtered() -> Iterator[None]:
    """Drops `_NOISE` from what is written to file 2."""
    sys.stderr and sys.stderr.flush()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(writing)
        _pass_on(reading)
    os.close(reading)
    kept = os.dup(2)
    os.dup2(writing, 2)
    os.close(writing)
    try:
        yield
    finally:
        sys.stderr and sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.waitpid(child, 0)


def _pass_on(reading: int) -> None:
    """What the child does, until nobody writes any more."""
    try:
        # Ctrl-C is for the program.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with open(reading, "rb") as lines:
            for line in lines:
                if not _NOISE.match(line):
                    os.write(2, line)
    finally:
        os._exit(0)
