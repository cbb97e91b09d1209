"""The client's command line: images of a served model into a folder, and its status.

The client itself, which can be copied alone, is client.py.
"""

import io
import logging
import math
import os
import pathlib
import sys
import warnings
from collections.abc import Sequence
from typing import BinaryIO, Callable

import grpc
import numpy as np
from absl import flags
from PIL import ExifTags, Image

from export import masks
from export.client import (
    DEFAULT_MODEL,
    MAX_FACTOR,
    MAX_NOISE_SCALE,
    UNKNOWN_HOST,
    UNTRUSTED,
    NoServer,
    SinGANClient,
)
from singan_tf import files, images
from singan_tf.cli import command_line, commands
from singan_tf.errors import UsageError, UserError, printable

# Of a flag that becomes an input of 32 bits.
_MOST = 2**31 - 1
_MOST_SECONDS = 1e6
# gRPC takes no message as large as that.
_MAX_FILE_BYTES = 2**31
_SHEET_SIDE = 256
_SHEET_CELLS = 49
_MARGIN = 6


def _sample(values: flags.FlagValues, client: SinGANClient) -> None:
    arguments = (values.start_scale, values.height, values.width, values.noise_scale)
    _write_all(
        values,
        {
            f"seed_{seed:06d}.png": lambda seed=seed: client.sample(
                seed, *arguments, png=True
            )
            for seed in _seed_list(values)
        },
    )


def _super_resolve(values: flags.FlagValues, client: SinGANClient) -> None:
    image = _read_png(values, "input")
    _write_all(
        values,
        {
            f"seed_{seed:06d}.png": lambda seed=seed: client.super_resolve(
                [image], values.factor, seed, png=True
            )
            for seed in _seed_list(values)
        },
    )


def _edit(values: flags.FlagValues, client: SinGANClient) -> None:
    image = _read_png(values, "input")
    drawn = None
    if values.mask:
        drawn = [_read_png(values, "mask")]
        fault = masks.fault(drawn[0])
        if fault:
            raise UserError(f"--mask={values.mask} {fault}.")
    _write_all(
        values,
        {
            f"seed_{seed:06d}.png": lambda seed=seed: client.edit(
                [image], values.injection_scale, drawn, seed, png=True
            )
            for seed in _seed_list(values)
        },
    )


def _reconstruct(values: flags.FlagValues, client: SinGANClient) -> None:
    _write_all(values, {"reconstruction.png": lambda: client.reconstruct(png=True)})


def _status(values: flags.FlagValues, client: SinGANClient) -> None:
    states = client.status()
    for version, state in sorted(states.items()):
        command_line.say(f"{values.model} version {version}: {state}")
    if "AVAILABLE" not in states.values():
        raise UserError(
            f"No version of {values.model} is available at {values.target}."
        )


def _define_sample(values: flags.FlagValues) -> None:
    _define_output(values)
    _define_seeds(values)
    flags.DEFINE_integer(
        "start_scale",
        0,
        "Scales below it reproduce the photograph: the higher, the less changes.",
        0,
        _MOST,
        flag_values=values,
    )
    for side in ("height", "width"):
        flags.DEFINE_integer(
            side,
            None,
            "Of a sample, in pixels; by default the photograph's.",
            1,
            _MOST,
            flag_values=values,
        )
    flags.DEFINE_float(
        "noise_scale",
        1.0,
        "Multiplies the noise of every scale: the higher, the more changes.",
        0,
        MAX_NOISE_SCALE,
        flag_values=values,
    )


def _define_super_resolve(values: flags.FlagValues) -> None:
    _define_output(values)
    _define_seeds(values)
    command_line.define_path("input", None, "The image to enlarge.", values)
    flags.DEFINE_float(
        "factor", 4.0, f"From 1 to {MAX_FACTOR}.", 1, MAX_FACTOR, flag_values=values
    )


def _define_edit(values: flags.FlagValues) -> None:
    _define_output(values)
    _define_seeds(values)
    command_line.define_path("input", None, "The edited picture.", values)
    command_line.define_path(
        "mask",
        None,
        "An image of the same size, white where the picture is redrawn and black "
        "elsewhere, used as it is, greys included; by default everything is redrawn.",
        values,
    )
    flags.DEFINE_integer(
        "injection_scale",
        None,
        "The scale at which the picture enters, from 1: the lower, the more changes.",
        1,
        _MOST,
        flag_values=values,
    )


def _define_output(values: flags.FlagValues) -> None:
    command_line.define_path(
        "output_dir",
        None,
        "Where images go; outputs/MODEL/served_COMMAND by default.",
        values,
    )
    flags.DEFINE_boolean(
        "overwrite", False, "Replace files in --output_dir.", flag_values=values
    )


def _define_seeds(values: flags.FlagValues) -> None:
    flags.DEFINE_list("seeds", ["0"], "One image for each.", flag_values=values)


def _define_connection(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "target", "localhost:8500", "The server's host and port.", flag_values=values
    )
    flags.DEFINE_string(
        "model", DEFAULT_MODEL, "Its name at the server.", flag_values=values
    )
    flags.DEFINE_integer(
        "version", None, "By default the latest.", 0, flag_values=values
    )
    flags.DEFINE_string(
        "label", None, "A version label, such as stable.", flag_values=values
    )
    flags.DEFINE_float(
        "deadline",
        60.0,
        "Seconds that a request may take, with its waiting for a server.",
        0.001,
        _MOST_SECONDS,
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "tls", False, "Encrypt, and check the server.", flag_values=values
    )
    command_line.define_path(
        "root_certificates",
        None,
        "A PEM file, trusted in place of the system's; implies --tls.",
        values,
    )


def _seed_list(values: flags.FlagValues) -> list[int]:
    try:
        seeds = [int(text) for text in values.seeds]
    except ValueError:
        seeds = []
    if not seeds or min(seeds) < -(2**63) or max(seeds) >= 2**63:
        raise UsageError(
            f"--seeds={','.join(values.seeds)} must be 64-bit integers with commas "
            "between them."
        )
    return seeds


def _read_png(values: flags.FlagValues, name: str) -> bytes:
    """A file as PNG, read as the program itself reads it; a plain PNG as it is."""
    path = pathlib.Path(values[name].value)
    try:
        with files.open_to_read(path) as file:
            if os.fstat(file.fileno()).st_size >= _MAX_FILE_BYTES:
                raise UserError(f"{path} has more than 2 GiB; shrink it first.")
            if _is_plain_png(file):
                file.seek(0)
                return file.read()
        colours, alpha = images.read_layer(path)
    except OSError as error:
        raise UserError(
            f"--{name}={path} cannot be read ({error.strerror}); copy it to another "
            "place first."
        ) from None
    except UserError as error:
        # It begins with the path.
        raise UserError(f"--{name}={error}") from None
    pixels = images.to_uint8(colours[0])
    if alpha is not None:
        pixels = np.dstack([pixels, images.to_uint8(2 * alpha - 1)])
    return _to_png(Image.fromarray(pixels))


def _is_plain_png(file: BinaryIO) -> bool:
    """Whether a file is a PNG that a server reads as the program itself does."""
    try:
        with warnings.catch_warnings():
            # Of damaged files, before the error that is told of elsewhere.
            warnings.simplefilter("ignore")
            with Image.open(file, formats=["PNG"]) as picture:
                # Of 16 bits in grey, a server takes the upper 8.
                if "icc_profile" in picture.info or picture.mode.startswith("I"):
                    return False
                # Also where it stands behind the pixels, or is XMP.
                return picture.getexif().get(ExifTags.Base.Orientation, 1) == 1
    except Exception:
        # Damaged files make Pillow raise nearly anything.
        return False


def _to_png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()


def _write_all(
    values: flags.FlagValues, requests: dict[str, Callable[[], list[bytes]]]
) -> None:
    """Asks for one image after the other, so that none waits for the last."""
    folder = pathlib.Path(values.output_dir)
    try:
        filled = folder.is_dir() and any(folder.iterdir())
    except OSError as error:
        raise UserError(
            f"--output_dir={folder} cannot be read ({error.strerror}); name another "
            "folder."
        ) from None
    if filled and not values.overwrite:
        raise UserError(
            f"--output_dir={folder} is not empty; name another folder, or pass "
            "--overwrite to replace files in it."
        )
    pictures = []
    for name, ask in requests.items():
        (picture,) = ask()
        _write(folder / name, picture)
        if len(pictures) < _SHEET_CELLS:
            pictures.append(picture)
    sheet = folder / "contact_sheet.png"
    _write(sheet, _contact_sheet(pictures))
    command_line.say(f"Wrote {folder}; see {sheet}")


def _connect(values: flags.FlagValues) -> SinGANClient:
    certificates = None
    if values.root_certificates:
        try:
            certificates = pathlib.Path(values.root_certificates).read_bytes()
        except OSError as error:
            raise UserError(
                f"--root_certificates={values.root_certificates} cannot be read: "
                f"{error.strerror}."
            ) from None
    try:
        return SinGANClient(
            values.target,
            values.model,
            values.version,
            values.label,
            values.deadline,
            tls=values.tls,
            root_certificates=certificates,
            on_wait=lambda seconds, reason: _tell_waiting(
                values.target, seconds, reason
            ),
        )
    except ValueError as error:
        raise UsageError(f"{error}.") from None


def _tell_waiting(target: str, seconds: float, reason: str) -> None:
    text = (
        f"No server answers at {target} yet ({reason}); waiting, for at most "
        f"{seconds:.0f} s more."
    )
    print(printable(text), file=sys.stderr)


def _refusal(error: grpc.RpcError, target: str) -> str:
    details = " ".join((error.details() or "").split())
    if isinstance(error, NoServer):
        if any(sign in error.reason for sign in UNKNOWN_HOST):
            return (
                f"--target={target} names a host that is not found ({error.reason}); "
                "name it as in localhost:8500."
            )
        if any(sign in error.reason for sign in UNTRUSTED):
            return (
                f"No encrypted connection to --target={target} can be trusted "
                f"({error.reason}); see --tls and --root_certificates."
            )
        return (
            f"No server answers at --target={target} within {error.seconds:.3g} s "
            f"({error.reason}); start one with python main.py serve, name another, or "
            "wait longer with --deadline."
        )
    return f"{target} answers {error.code().name}: {details}"


def _write(path: pathlib.Path, content: bytes) -> None:
    with files.replacing(path) as temporary:
        temporary.write_bytes(content)


def _contact_sheet(pictures: Sequence[bytes]) -> bytes:
    """Lays pictures out in a roughly square grid on white.

    Args:
        pictures: At least one image file each; larger ones are shrunk to 256 pixels.

    Returns:
        A PNG file.
    """
    cells = []
    for picture in pictures:
        cell = Image.open(io.BytesIO(picture)).convert("RGB")
        cell.thumbnail((_SHEET_SIDE, _SHEET_SIDE))
        cells.append(cell)
    columns = math.ceil(math.sqrt(len(cells)))
    rows = math.ceil(len(cells) / columns)
    width = max(cell.width for cell in cells) + _MARGIN
    height = max(cell.height for cell in cells) + _MARGIN
    size = (columns * width + _MARGIN, rows * height + _MARGIN)
    sheet = Image.new("RGB", size, "white")
    for index, cell in enumerate(cells):
        row, column = divmod(index, columns)
        sheet.paste(cell, (_MARGIN + column * width, _MARGIN + row * height))
    return _to_png(sheet)


def _command(
    name: str,
    meaning: str,
    run: Callable[[flags.FlagValues, SinGANClient], None],
    define: Callable[[flags.FlagValues], None],
    needed: Sequence[str] = (),
) -> commands.Command:
    """A command that is given a client.

    Args:
        name: What it is called.
        meaning: The line of help.
        run: Takes the flags and the client.
        define: Defines the flags beyond those of every command.
        needed: The flags that must be given.
    """

    def define_all(values: flags.FlagValues) -> None:
        _define_connection(values)
        define(values)

    def run_connected(call: commands.Call) -> None:
        values = call.values
        if "output_dir" in values and values.output_dir is None:
            values.output_dir = f"outputs/{values.model}/served_{name}"
        with _connect(values) as client:
            try:
                run(values, client)
            except grpc.RpcError as error:
                raise UserError(_refusal(error, values.target)) from None

    return commands.Command(
        name, meaning, define_all, run_connected, lambda call: call.require(*needed)
    )


COMMANDS = (
    _command("sample", "Make new images of any size.", _sample, _define_sample),
    _command(
        "super_resolve",
        "Enlarge an image, with details in the photograph's texture.",
        _super_resolve,
        _define_super_resolve,
        ["input"],
    ),
    _command(
        "edit",
        "Make an edited picture look like a photograph.",
        _edit,
        _define_edit,
        ["injection_scale", "input"],
    ),
    _command(
        "reconstruct",
        "The photograph, as the model reproduces it.",
        _reconstruct,
        _define_output,
    ),
    _command("status", "Tell which versions are served.", _status, lambda values: None),
)


def main(argv: Sequence[str]) -> int:
    """Runs one command.

    Args:
        argv: As sys.argv.

    Returns:
        The exit status: 0, 1 for bad input or a refusal, 2 for bad usage, 130 after
        Ctrl-C.
    """
    return commands.run(COMMANDS, argv, "python -m export.client")


def start() -> int:
    """Runs the command of this process, as `main` does."""
    # A Ctrl-C while a stream of Python's writes is lost, and on standard error the
    # command says that it waits: the moment to press it.
    stderr = sys.stderr
    command_line.set_up_streams()
    sys.stderr = stderr
    # What is told of files that are read.
    handler = logging.StreamHandler()
    handler.setFormatter(command_line.Formatter("%(message)s"))
    logger = logging.getLogger("singan_tf")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return main(sys.argv)
