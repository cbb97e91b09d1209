"""Where an export's files are: BASE/VERSION/..., and which version is which.

A version is a folder whose name is a number; other names, hidden ones among them, are
none, for TensorFlow Serving as for this. Needs NumPy only: the checks in
`export.verify` and programs that load nothing use it.
"""

import json
import os
import pathlib
import re
from collections.abc import Iterable
from typing import Any, NamedTuple, Optional, Union

import numpy as np

MODEL = "saved_model.pb"
VARIABLES = "variables/variables.index"
DESCRIPTION = "signatures.json"
GOLDEN = "golden.npz"
WARMUP = "assets.extra/tf_serving_warmup_requests"
# Of signatures.json; 0 is that of version 0.1.0, which has no number. A change that
# older programs would misread raises it.
FORMAT = 1


class WrongFormat(ValueError):
    """An export that this program does not read; the message is one sentence."""


class Description(NamedTuple):
    """What an export's signatures.json tells programs.

    Attributes:
        signatures: The docs, inputs and outputs of each signature, by its name, as
            JSON values.
        max_batch: The most rows of a request; None where that is not told.
    """

    signatures: dict[str, Any]
    max_batch: Optional[int]


class Request(NamedTuple):
    """A request with its answer.

    Attributes:
        signature: The name of the signature.
        inputs: Arrays by name; strings are of dtype S.
        outputs: Arrays by name, likewise.
    """

    signature: str
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]


def by_number(names: Iterable[str]) -> dict[int, str]:
    """The names that are versions, by their numbers in ascending order.

    Args:
        names: The names in the folder of the versions.

    Returns:
        Number to name.
    """
    # An int64 holds every number of 18 digits.
    numbers = [name for name in names if re.fullmatch("[0-9]{1,18}", name)]
    return {int(name): name for name in sorted(numbers, key=int)}


def versions(base: pathlib.Path) -> dict[int, pathlib.Path]:
    """The folders of the versions, whole or not, in ascending order.

    Args:
        base: The folder of the versions.

    Returns:
        Number to folder; nothing where there is no such folder to read.
    """
    try:
        names = [path.name for path in base.iterdir() if path.is_dir()]
    except OSError:
        return {}
    return {number: base / name for number, name in by_number(names).items()}


def latest(base: pathlib.Path) -> Optional[pathlib.Path]:
    """The folder of the highest version, whole or not; None where there is none."""
    return max(versions(base).items(), default=(0, None))[1]


def taken(base: pathlib.Path) -> list[int]:
    """The numbers that a new version cannot have, ascending; also those of files."""
    return list(by_number(path.name for path in base.iterdir()))


def holds_model(folder: pathlib.Path) -> bool:
    """Whether a version has its graph, without which it is still being copied."""
    return (folder / MODEL).exists()


def require_format(path: Union[str, os.PathLike[str]], told: dict[str, Any]) -> None:
    """Refuses an export that a newer version of the program made.

    Args:
        path: The path of its signatures.json.
        told: What is in it.

    Raises:
        WrongFormat: if its format is newer, or no number.
    """
    found = told.get("format", 0)
    if type(found) is not int or found < 0:
        raise WrongFormat(f"{path} is damaged: its format is no number.")
    if found > FORMAT:
        raise WrongFormat(
            f"{path} was made by a newer version of the program; update it."
        )


def read_description(folder: pathlib.Path) -> Description:
    """Reads signatures.json.

    Args:
        folder: The version's folder.

    Returns:
        What it tells.

    Raises:
        WrongFormat: if a newer version of the program made it.
        OSError: if the file cannot be read.
        ValueError, LookupError, TypeError: if it is damaged.
    """
    path = folder / DESCRIPTION
    told = json.loads(path.read_text(encoding="utf-8"))
    require_format(path, dict(told))
    limits = told.get("limits")
    return Description(
        told.get("signatures", {}), None if limits is None else int(limits["max_batch"])
    )


def description(folder: pathlib.Path) -> Description:
    """What a model tells, if it tells anything: models of others do not.

    Args:
        folder: The version's folder.

    Returns:
        The description, empty where there is none that can be read.

    Raises:
        WrongFormat: if a newer version of the program made it.
    """
    try:
        told = read_description(folder)
        return told._replace(signatures=dict(told.signatures))
    except WrongFormat:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return Description({}, None)


def write_golden(folder: pathlib.Path, requests: list[Request]) -> None:
    """Writes the warm-up requests with their answers, for `read_golden`.

    Args:
        folder: The version's folder.
        requests: In the order of the warm-up requests.
    """
    names = [request.signature for request in requests]
    arrays: dict[str, Any] = {"signatures": np.array(json.dumps(names))}
    for index, request in enumerate(requests):
        for name, array in request.inputs.items():
            arrays[f"{index}/inputs/{name}"] = array
        for name, array in request.outputs.items():
            arrays[f"{index}/outputs/{name}"] = array
    np.savez_compressed(folder / GOLDEN, **arrays)


def read_golden(folder: pathlib.Path) -> list[Request]:
    """The warm-up requests and the answers stored at export.

    Args:
        folder: The version's folder.

    Returns:
        The requests, in order.

    Raises:
        Exception: of any type, if the file is damaged.
    """
    with np.load(folder / GOLDEN, allow_pickle=False) as file:
        arrays = dict(file)
    names = json.loads(str(arrays.pop("signatures")))
    requests = [Request(name, {}, {}) for name in names]
    for key, array in arrays.items():
        index, kind, name = key.split("/")
        request = requests[int(index)]
        (request.inputs if kind == "inputs" else request.outputs)[name] = array
    return requests
