"""Stored requests asked again: the same answers as at export, or the failure in words.

Needs NumPy only.
"""

from typing import Callable

import numpy as np

from export import layout


class Failed(Exception):
    """A check that failed; the message is one sentence that says which."""


class SessionError(Exception):
    """An error of TensorFlow's, with its code: 3 is INVALID_ARGUMENT."""

    def __init__(self, code: int, message: str):
        """Keeps both.

        Args:
            code: Of gRPC, as TensorFlow has it.
            message: TensorFlow's own.
        """
        super().__init__(message)
        self.code = code


def compare(
    way: str,
    run: Callable[[str, dict[str, np.ndarray]], dict[str, np.ndarray]],
    requests: list[layout.Request],
) -> None:
    """Asks the stored requests again.

    Args:
        way: What answers, in words.
        run: Takes a signature's name and its inputs, and gives its outputs; strings
            are of dtype S.
        requests: With the answers to expect, bit for bit.

    Raises:
        Failed: if a request is refused, or answered otherwise.
    """
    for index, (signature, inputs, outputs) in enumerate(requests):
        try:
            answer = run(signature, inputs)
        except SessionError as error:
            raise Failed(
                f"{way}: warm-up request {index}, of {signature}, fails "
                f"({first_line(error)})."
            ) from None
        if not equal(answer, outputs):
            raise Failed(
                f"{way}: warm-up request {index}, of {signature}, is answered "
                "otherwise than at export; another processor or version of "
                "TensorFlow rounds differently: export where it will run."
            )


def equal(some: dict[str, np.ndarray], others: dict[str, np.ndarray]) -> bool:
    """Whether arrays by name are the same in name, kind and value."""
    return some.keys() == others.keys() and all(
        some[name].dtype.kind == others[name].dtype.kind
        and np.array_equal(some[name], others[name])
        for name in some
    )


def first_line(error: Exception) -> str:
    """The first line of an error's message; its type where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]
