"""Ctrl-C and SIGTERM, as a question that long work asks between two steps."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import Callable


@contextlib.contextmanager
def resumable(
    interrupted: type[Exception], command: str
) -> Iterator[Callable[[], bool]]:
    """Says how to go on with work that was asked to stop, and has saved itself.

    Args:
        interrupted: What the work raises when it stops because it was asked to.
        command: What goes on with it.

    Yields:
        Whether the work is to stop.

    Raises:
        KeyboardInterrupt: in place of `interrupted`, with the sentence to print.
    """
    try:
        with asked_about() as should_stop:
            yield should_stop
    except interrupted:
        raise KeyboardInterrupt(f"all is saved; go on with: {command}") from None


@contextlib.contextmanager
def asked_about() -> Iterator[Callable[[], bool]]:
    """Turns Ctrl-C and SIGTERM into a question; given again, they stop at once.

    Yields:
        Whether one of the two came.
    """
    asked = []

    def stop(number: int, frame: object) -> None:
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
