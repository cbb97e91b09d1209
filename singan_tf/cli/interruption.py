"""Ctrl-C and SIGTERM, as a question that long work asks between two steps.

Or as an event that servers wait for.
"""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Callable


@contextlib.contextmanager
def resumable(
    interrupted: type[Exception], command: str
) -> Iterator[Callable[[], bool]]:
    """Says how to go on with work that was asked to stop, and has saved itself.

    Args:
        interrupted: What the work raises when it stops because it was asked to; with
            words if it is otherwise than saved.
        command: What goes on with it.

    Yields:
        Whether the work is to stop.

    Raises:
        KeyboardInterrupt: in place of `interrupted`, with the sentence to print.
    """
    try:
        with asked_about() as should_stop:
            yield should_stop
    except interrupted as stop:
        said = str(stop) or f"all is saved; go on with: {command}"
        raise KeyboardInterrupt(said) from None


@contextlib.contextmanager
def asked_about() -> Iterator[Callable[[], bool]]:
    """Turns Ctrl-C and SIGTERM into a question; given again, they stop at once.

    Yields:
        Whether one of the two came.
    """
    asked: list[int] = []

    def stop(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        print("\nStopping after this step (again to stop at once).", file=sys.stderr)

    with _handled_by(stop):
        yield lambda: bool(asked)


@contextlib.contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, in place of what else they do."""
    stop = threading.Event()
    with _handled_by(lambda *_: stop.set()):
        yield stop


@contextlib.contextmanager
def _handled_by(handler: Callable) -> Iterator[None]:
    """Gives Ctrl-C and SIGTERM to a handler, also where they were ignored."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, handler) for number in numbers]
    try:
        yield
    finally:
        for number, former in zip(numbers, before):
            signal.signal(number, former)
