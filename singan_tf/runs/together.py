"""The photographs that one model is to be trained on: found, read and planned for."""

import itertools
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple, Optional, Union

import numpy as np
import PIL.Image

from singan_tf import config as config_lib
from singan_tf import images, photographs
from singan_tf import inside as inside_lib
from singan_tf.config import Config
from singan_tf.errors import UsageError, UserError
from singan_tf.runs.facts import Photograph, inside_sha256
from singan_tf.runs.folder import all_sizes

# A path, a name or pixels.
Image = Union[str, os.PathLike[str], np.ndarray]


class Together(NamedTuple):
    """Photographs, one or more, that one model is trained on.

    Attributes:
        arrays: Each float32 [1, H, W, C] in [-1, 1]; what is outside is filled.
        insides: What of each counts, bool [H, W]; None where all does.
        facts: What a run folder keeps of each.
        sizes: (height, width) of the scales of each, coarse to fine.
        config: Of the run, settled.
    """

    arrays: list[np.ndarray]
    insides: list[Optional[np.ndarray]]
    facts: list[Photograph]
    sizes: list[list[tuple[int, int]]]
    config: Config


def find(names: Sequence[str]) -> list[pathlib.Path]:
    """Finds one or more photographs.

    Args:
        names: Each as `images.resolve` takes it, several of them with commas between,
            or a folder, of which all images are taken, by name.

    Returns:
        The paths of existing files.

    Raises:
        UserError: There is neither such a file nor such a photograph, or no image in a
            folder.
    """
    found: list[pathlib.Path] = []
    for name in names:
        # A file's own name may have a comma.
        parts = [name] if os.path.exists(name) else name.split(",")
        for part in filter(None, parts) if any(parts) else [name]:
            path = images.resolve(part)
            # An empty name is that of no folder.
            found += photographs.in_folder(path) if part and path.is_dir() else [path]
    return found


def find_or_write(
    image: Union[Image, Sequence[Image]], place: pathlib.Path
) -> list[pathlib.Path]:
    """Finds one or more photographs, some of which may be pixels.

    Args:
        image: A photograph or a list: each a name as for `find`, or uint8 [H, W] or
            [H, W, 3].
        place: A folder; what is pixels becomes files there.

    Returns:
        The paths of existing files.

    Raises:
        UserError: As for `find`.
        ValueError: if there is none, or an array is no picture.
    """
    several = list(image) if isinstance(image, (list, tuple)) else [image]
    if not several:
        raise ValueError("there is no photograph in an empty list")
    paths: list[pathlib.Path] = []
    for number, each in enumerate(several):
        if isinstance(each, np.ndarray):
            name = f"array-{number + 1}.png" if number else "array.png"
            paths.append(_write_array(each, place / name))
        else:
            paths += find([os.fspath(each)])
    return paths


def _write_array(image: np.ndarray, path: pathlib.Path) -> pathlib.Path:
    """Writes pixels as a file; raises ValueError if they are no picture."""
    if image.dtype != np.uint8 or image.shape[2:] not in ((), (3,)) or image.ndim < 2:
        raise ValueError(
            f"{image.dtype} {image.shape} is not uint8 [H, W] or [H, W, 3]"
        )
    # Not packed: the same bytes, by which a run knows its photograph, everywhere.
    PIL.Image.fromarray(image).save(path, compress_level=0)
    return path


def read(
    paths: Sequence[pathlib.Path],
    config: Config,
    mask: Optional[photographs.Mask] = None,
    transparent: str = "outside",
) -> Together:
    """Reads the photographs of a run and settles its configuration; writes nothing.

    Args:
        paths: At least one.
        config: Of the run, as asked for.
        mask: What is inside the photograph, as `photographs.read` takes it; of several,
            what is opaque of each.
        transparent: Likewise.

    Raises:
        UserError: if one of them cannot be read, has nothing in it to learn, or does
            not fit the settings or the others; the message names it.
        UsageError: if there is a mask and several photographs, or a setting does not go
            with what is outside.
    """
    if mask is not None and len(paths) > 1:
        raise UsageError(
            f"train_mask is the mask of one photograph, and {len(paths)} are given; "
            "leave out the mask and make each photograph transparent where nothing is "
            "to be learned, or train on one."
        )
    arrays, insides, facts = [], [], []
    for path in paths:
        array, inside = photographs.read(
            path, config.network.channels, mask, transparent
        )
        arrays.append(array)
        insides.append(inside)
        known_by = images.sha256(path), inside_sha256(inside)
        height, width = array.shape[1:3]
        facts.append(Photograph(path.name, height, width, *known_by))
    for (one, path), (other, again) in itertools.combinations(zip(facts, paths), 2):
        if one.sha256 == other.sha256:
            raise UserError(
                f"{again} is the same photograph as {path}; give each once."
            )
    _require_same_colours(paths, arrays)
    sizes: list[list[tuple[int, int]]] = []
    for number, (path, inside) in enumerate(zip(paths, insides)):
        try:
            sizes.append(all_sizes(config, facts[: number + 1])[number])
            if not number:
                config = config_lib.settle(config, sizes[0])
            if inside is not None:
                inside_lib.check(config, sizes[number], inside)
        except UserError as error:
            raise type(error)(f"{path}: {error}") from None
    return Together(arrays, insides, facts, sizes, config)


def _require_same_colours(
    paths: Sequence[pathlib.Path], arrays: Sequence[np.ndarray]
) -> None:
    """Refuses grey photographs beside colour ones: samples would be of either kind."""
    grey = [bool((array == array[..., :1]).all()) for array in arrays]
    if all(grey) or not any(grey):
        return
    first, other = paths[grey.index(True)], paths[grey.index(False)]
    raise UserError(
        f"{first} is grey and {other} is not; train on photographs of one kind, or in "
        "grey on all, which channels=1 does."
    )


def of_several(what: str, number: int) -> str:
    """A caption of what there may be several of: the first has no number."""
    return f"{what} {number + 1}" if number else what
