"""Calls a served model by gRPC: `SinGANClient` in Python, `python -m export.client`.

It needs grpc, numpy, pillow, absl and tensorflow-serving-api, whose messages need the
tensorflow package beside them and load it, some seconds at the start. Nothing of
singan_tf is needed where a client runs: copy this file alone if you like.

    with SinGANClient("localhost:8500", model="coffee") as client:
        images = client.sample(seeds=[1, 2], height=96, width=128)

A call asks again until its deadline while the server is UNAVAILABLE, that is starting,
restarting or out of reach, or loads the model, and for no other reason. Every answer is
a pure function of the request, so asking again is safe.
"""

import difflib
import io
import json
import math
import os
import pathlib
import queue
import random
import sys
import textwrap
import time
import warnings
from collections.abc import Sequence
from typing import Any, Callable, NamedTuple, Optional, Union

if __name__ == "__main__":
    # TensorFlow speaks of its plugins at every import otherwise.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import grpc
import numpy as np
from absl import flags
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

DEFAULT_MODEL = "singan"
# gRPC's own limit of 4 MiB is less than a sample of 1200x1200 pixels.
DEFAULT_MAX_MESSAGE_BYTES = 256 * 2**20
MAX_FACTOR = 16
MAX_NOISE_SCALE = 10

Images = Union[np.ndarray, Sequence[np.ndarray], Sequence[bytes]]

# Seconds between attempts; they double from the first to the last.
_FIRST_PAUSE = 0.2
_LAST_PAUSE = 2.0
# Seconds without a server after which a call says that it waits.
_PATIENCE = 3.0
# What the details of UNAVAILABLE have where waiting helps nobody.
_UNKNOWN_HOST = ("errors resolving", "DNS resolution failed")
_UNTRUSTED = ("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER")
_DTYPES = {
    np.dtype(np.uint8): types_pb2.DT_UINT8,
    np.dtype(np.int32): types_pb2.DT_INT32,
    np.dtype(np.int64): types_pb2.DT_INT64,
    np.dtype(np.float32): types_pb2.DT_FLOAT,
}
# gRPC takes no message as large as that.
_MAX_FILE_BYTES = 2**31
# A mask below it, of 255, shows at most a sixteenth of what is redrawn.
_FAINT = 16
_SHEET_SIDE = 256
_SHEET_CELLS = 49
_MARGIN = 6


class NoServer(grpc.RpcError):
    """No server was ready to answer, where a slow answer is DEADLINE_EXCEEDED.

    Attributes:
        seconds: How long it was waited for.
        reason: What the last attempt met.
    """

    def __init__(self, seconds: float, reason: str):
        """Keeps both.

        Args:
            seconds: From the call on.
            reason: One line.
        """
        super().__init__(f"No server was ready within {seconds:.3g} s ({reason})")
        self.seconds = seconds
        self.reason = reason

    def code(self) -> grpc.StatusCode:
        """UNAVAILABLE, as gRPC has it."""
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        """A sentence with the reason."""
        return str(self)


class SinGANClient:
    """A served model, as methods that take and give arrays or PNG bytes.

    Images are uint8 [B, H, W, C], C the channels that the model was trained with (3,
    or 1 for grey); masks uint8 [B, H, W, 1]. With `png=True` both, and the result,
    are lists of B bytes objects that hold PNG files, whose sizes may differ.

    Every method raises ValueError for an argument that no model can take, before
    anything is sent, and grpc.RpcError with `code()` and `details()` for what the
    server refuses or when it does not answer within the deadline. Where no server was
    ready to answer until then, that is a `NoServer`: a server that is starting or
    restarting, or loads the model, is waited for. It comes after seconds where waiting
    is of no use: the host has no address, or its certificate is not trusted. One
    client serves any number of threads.
    """

    def __init__(
        self,
        target: str,
        model: str = DEFAULT_MODEL,
        version: Optional[int] = None,
        label: Optional[str] = None,
        deadline: float = 60.0,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        tls: bool = False,
        root_certificates: Optional[bytes] = None,
        on_wait: Optional[Callable[[float, str], None]] = None,
    ):
        """Opens a channel; nothing is sent until a method is called.

        Args:
            target: The server's host and gRPC port, as in "localhost:8500". Of a name
                with several addresses all are used in turn.
            model: Its name at the server.
            version: The version to ask; by default the server's latest.
            label: The version label to ask, such as "stable"; not with `version`.
            deadline: Seconds that a call may take, with its waiting for a server.
            max_message_bytes: The largest request and answer.
            tls: Whether the channel is encrypted and the server's certificate
                checked.
            root_certificates: PEM; trusted in place of the system's. Implies `tls`.
            on_wait: Called once in a call that has waited three seconds for a server,
                with the seconds for which it may still wait, and the reason.

        Raises:
            ValueError: if an argument is out of range, or both a version and a label
                are given.
        """
        if not model:
            raise ValueError("model must be a name")
        if version is not None and label is not None:
            raise ValueError("version and label: choose one")
        if version is not None and not 0 <= version < 2**63:
            raise ValueError(f"version must be at least 0, not {version}")
        if not 0 < deadline < math.inf:
            raise ValueError(f"deadline must be some seconds, not {deadline}")
        if not 0 < max_message_bytes < 2**31:
            raise ValueError("max_message_bytes must be from 1 to 2 GiB less one byte")
        self._model = model_pb2.ModelSpec(name=model)
        if version is not None:
            self._model.version.value = version
        if label is not None:
            self._model.version_label = label
        self._deadline = deadline
        self._on_wait = on_wait or (lambda seconds, reason: None)
        policy = {"loadBalancingConfig": [{"round_robin": {}}]}
        options = [
            ("grpc.max_send_message_length", max_message_bytes),
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.service_config", json.dumps(policy)),
            # Otherwise up to two minutes pass before it tries to connect again.
            ("grpc.max_reconnect_backoff_ms", int(1000 * _LAST_PAUSE)),
        ]
        if tls or root_certificates is not None:
            credentials = grpc.ssl_channel_credentials(root_certificates)
            self._channel = grpc.secure_channel(target, credentials, options)
        else:
            self._channel = grpc.insecure_channel(target, options)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(
            self._channel
        )
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def __enter__(self) -> "SinGANClient":
        """The client itself."""
        return self

    def __exit__(self, *exception: Any) -> None:
        """Closes the channel."""
        self.close()

    def close(self) -> None:
        """Closes the channel; calls under way are cancelled."""
        self._channel.close()

    def sample(
        self,
        seeds: Union[int, Sequence[int]],
        start_scale: Union[int, Sequence[int]] = 0,
        height: Optional[int] = None,
        width: Optional[int] = None,
        noise_scale: Union[float, Sequence[float]] = 1.0,
        png: bool = False,
    ) -> Union[np.ndarray, list[bytes]]:
        """Random samples; row i depends on the i-th seed and values alone.

        Args:
            seeds: One for each sample, any 64-bit integers.
            start_scale: Scales below it reproduce the photograph; for all or each.
            height: Of the samples, in pixels. When it is left out, so is the input,
                and the model takes the photograph's. A server with batching switched
                on refuses that for more than one seed: give both there.
            width: Likewise.
            noise_scale: Multiplies the noise of every scale, from 0 to 10; for all or
                each.
            png: Whether to return PNG files.

        Returns:
            uint8 [B, height, width, C], or B PNG files.
        """
        seeds = _seeds(seeds)
        count = len(seeds)
        inputs = {
            "seed": seeds,
            "start_scale": _rows("start_scale", start_scale, count, np.int32),
            "noise_scale": _rows(
                "noise_scale", noise_scale, count, np.float32, most=MAX_NOISE_SCALE
            ),
        }
        for name, side in (("height", height), ("width", width)):
            if side is not None:
                inputs[name] = _rows(name, side, count, np.int32, least=1)
        return self._draw("sample", inputs, png)

    def super_resolve(
        self,
        images: Images,
        factor: float = 4.0,
        seeds: Union[int, Sequence[int]] = 0,
        png: bool = False,
    ) -> Union[np.ndarray, list[bytes]]:
        """Enlarges images, with details in the photograph's texture.

        Args:
            images: uint8 [B, H, W, C], or B PNG files.
            factor: From 1 to 16.
            seeds: For all or each, any 64-bit integers.
            png: Whether images are PNG files, in and out.

        Returns:
            uint8 [B, round(factor * H), round(factor * W), C], or B PNG files.
        """
        inputs = _image_inputs(images, png)
        count = len(images)
        factors = _rows("factor", factor, count, np.float32, 1, MAX_FACTOR)
        inputs["factor"] = factors
        inputs["seed"] = _rows("seeds", seeds, count, np.int64, -math.inf)
        return self._draw("super_resolve", inputs, png)

    def edit(
        self,
        images: Images,
        injection_scale: Union[int, Sequence[int]],
        masks: Optional[Images] = None,
        seeds: Union[int, Sequence[int]] = 0,
        png: bool = False,
    ) -> Union[np.ndarray, list[bytes]]:
        """Redraws images in the photograph's texture, inside a mask.

        Args:
            images: uint8 [B, H, W, C], or B PNG files.
            injection_scale: Where an image enters, from 1 to the last scale; the
                lower, the more changes. For all or each.
            masks: uint8 [B, H, W, 1], or B PNG files: 255 where the redrawn image is
                shown, 0 where the input stays as it is to the last bit, between them
                a blend. By default everything is redrawn.
            seeds: For all or each, any 64-bit integers.
            png: Whether images and masks are PNG files, in and out.

        Returns:
            uint8 [B, H, W, C], or B PNG files.
        """
        inputs = _image_inputs(images, png)
        count = len(images)
        if masks is not None and len(masks) != count:
            raise ValueError(f"{count} images need as many masks, not {len(masks)}")
        if png:
            masks = [b""] * count if masks is None else _png_files("masks", masks)
            inputs["mask_bytes"] = masks
        else:
            shape = (*inputs["image"].shape[:3], 1)
            masks = np.full(shape, 255, np.uint8) if masks is None else masks
            masks = _pixels("masks", masks)
            if masks.shape != shape:
                raise ValueError(f"masks must be {list(shape)}, not {[*masks.shape]}")
            inputs["mask"] = masks
        scales = _rows("injection_scale", injection_scale, count, np.int32, least=1)
        inputs["injection_scale"] = scales
        inputs["seed"] = _rows("seeds", seeds, count, np.int64, -math.inf)
        return self._draw("edit", inputs, png)

    def reconstruct(
        self, count: int = 1, png: bool = False
    ) -> Union[np.ndarray, list[bytes]]:
        """The photograph, as the model reproduces it from its fixed noise.

        Args:
            count: How many times.
            png: Whether to return PNG files.

        Returns:
            uint8 [count, H, W, C], or PNG files.
        """
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"count must be a whole number from 1, not {count}")
        return self._draw("reconstruct", {"seed": np.zeros(count, np.int64)}, png)

    def status(self) -> dict[int, str]:
        """The versions that the server knows of.

        Returns:
            Version to state: START, LOADING, AVAILABLE, UNLOADING or END, followed by
            ": " and the reason where loading failed.
        """
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=self._model)
        answer = self._ask(self._models.GetModelStatus, request)
        states = get_model_status_pb2.ModelVersionStatus.State
        return {
            found.version: ": ".join(
                filter(None, (states.Name(found.state), found.status.error_message))
            )
            for found in answer.model_version_status
        }

    def metadata(self) -> dict[str, dict[str, dict[str, tuple[str, tuple]]]]:
        """The model's signatures; which inputs have defaults is not told here.

        Returns:
            Signature to {"inputs": ..., "outputs": ...}, each of them a tensor's name
            to its dtype, such as "DT_UINT8", and shape, -1 where it is free.
        """
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self._model, metadata_field=["signature_def"]
        )
        answer = self._ask(self._predictions.GetModelMetadata, request)
        found = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(found)
        return {
            name: {
                "inputs": _told(signature.inputs),
                "outputs": _told(signature.outputs),
            }
            for name, signature in found.signature_def.items()
        }

    def _draw(self, signature: str, inputs: dict, png: bool):
        request = predict_pb2.PredictRequest(model_spec=self._model)
        request.model_spec.signature_name = f"{signature}_png" if png else signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(_to_tensor(value))
        output = "image_bytes" if png else "image"
        request.output_filter.append(output)
        answer = self._ask(self._predictions.Predict, request)
        return _from_tensor(answer.outputs[output])

    def _ask(self, method: grpc.UnaryUnaryMultiCallable, request):
        """Calls until a server answers, or until the deadline."""
        begin = time.monotonic()
        pause = _FIRST_PAUSE
        told = False

        def waited() -> float:
            return time.monotonic() - begin

        def tell(reason: str) -> None:
            nonlocal told
            if not told and waited() >= _PATIENCE:
                told = True
                self._on_wait(self._deadline - waited(), reason)

        reason = "it does not accept a connection"
        while waited() < self._deadline:
            call = method.future(request, timeout=self._deadline - waited())
            try:
                if not told:
                    _wait(call, _PATIENCE - waited())
                    if not call.done() and not self._is_connected():
                        tell(reason)
                return call.result()
            except grpc.RpcError as error:
                details = " ".join((error.details() or "").split())
                if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                    if self._is_connected():
                        raise
                elif error.code() == grpc.StatusCode.UNAVAILABLE:
                    reason = details
                elif self._is_loading(error):
                    reason = f"{self._model.name} is still being loaded"
                else:
                    raise
            finally:
                # Of a call that Ctrl-C ends.
                call.cancel()
            if waited() >= _PATIENCE and any(
                sign in reason for sign in (*_UNKNOWN_HOST, *_UNTRUSTED)
            ):
                break
            tell(reason)
            # Clients that wait for one server shall not come all at once.
            seconds = random.uniform(0.8, 1.2) * pause
            time.sleep(max(0, min(seconds, self._deadline - waited())))
            pause = min(2 * pause, _LAST_PAUSE)
        raise NoServer(min(waited(), self._deadline), reason)

    def _is_connected(self) -> bool:
        states = queue.SimpleQueue()
        self._channel.subscribe(states.put)
        try:
            return states.get(timeout=1) == grpc.ChannelConnectivity.READY
        except queue.Empty:
            return False
        finally:
            self._channel.unsubscribe(states.put)

    def _is_loading(self, error: grpc.RpcError) -> bool:
        """Whether what is NOT_FOUND will be there soon."""
        if error.code() != grpc.StatusCode.NOT_FOUND:
            return False
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=self._model)
        try:
            answer = self._models.GetModelStatus(request, timeout=_PATIENCE)
        except grpc.RpcError:
            return False
        states = get_model_status_pb2.ModelVersionStatus.State
        return any(
            found.state in (states.START, states.LOADING)
            for found in answer.model_version_status
        )


def contact_sheet(pictures: Sequence[bytes]) -> bytes:
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


def _seeds(seeds) -> np.ndarray:
    seeds = np.atleast_1d(np.asarray(seeds))
    if seeds.ndim != 1 or not seeds.size:
        raise ValueError("seeds must be a whole number or a list of them, not empty")
    return _rows("seeds", seeds, len(seeds), np.int64, -math.inf)


def _rows(
    name: str, value, count: int, dtype, least: float = 0, most: float = math.inf
) -> np.ndarray:
    """A value for all rows, or one for each, as an array of one for each."""
    given = np.asarray(value)
    whole = np.issubdtype(dtype, np.integer)
    if given.dtype.kind not in ("iu" if whole else "iuf"):
        kind = "whole numbers" if whole else "numbers"
        raise ValueError(f"{name} must be {kind}, not {value!r}")
    if given.shape not in ((), (count,)):
        raise ValueError(f"{name} must be one for all, or one for each of {count}")
    if whole:
        least, most = max(least, np.iinfo(dtype).min), min(most, np.iinfo(dtype).max)
    # Negated so that NaN, which compares false, is refused too.
    if not ((given >= least) & (given <= most) & np.isfinite(given)).all():
        limits = f"at least {least}" if most == math.inf else f"from {least} to {most}"
        raise ValueError(f"{name} must be {limits}, not {value!r}")
    return np.full(count, given, dtype)


def _image_inputs(images: Images, png: bool) -> dict:
    if len(images) == 0:
        raise ValueError("images must hold at least one")
    if png:
        return {"image_bytes": _png_files("images", images)}
    pixels = _pixels("images", images)
    if pixels.shape[-1] not in (1, 3):
        raise ValueError(f"images must have 1 or 3 channels, not {pixels.shape[-1]}")
    return {"image": pixels}


def _png_files(name: str, files) -> list[bytes]:
    if isinstance(files, bytes) or not all(isinstance(file, bytes) for file in files):
        raise ValueError(f"with png=True, {name} must be a list of bytes")
    return list(files)


def _pixels(name: str, arrays) -> np.ndarray:
    if len({np.shape(array) for array in arrays}) > 1:
        raise ValueError(
            f"{name} of one call must have one size; png=True takes others"
        )
    pixels = np.asarray(arrays)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or not pixels.size:
        raise ValueError(
            f"{name} must be uint8 [B, H, W, C], not {pixels.dtype} "
            f"{[*pixels.shape]}; png=True takes PNG files"
        )
    return pixels


def _to_tensor(value) -> tensor_pb2.TensorProto:
    if isinstance(value, list):
        tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=value)
        tensor.tensor_shape.dim.add(size=len(value))
        return tensor
    tensor = tensor_pb2.TensorProto(
        dtype=_DTYPES[value.dtype], tensor_content=value.tobytes()
    )
    for size in value.shape:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


def _from_tensor(tensor: tensor_pb2.TensorProto) -> Union[np.ndarray, list[bytes]]:
    """Reads an image or a list of files; servers choose among two encodings."""
    if tensor.dtype == types_pb2.DT_STRING:
        return list(tensor.string_val)
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, np.uint8).reshape(shape).copy()
    return np.array(tensor.int_val, np.uint8).reshape(shape)


def mask_fault(file: bytes) -> Optional[str]:
    """Looks at a mask file for what a server would take for something else.

    Args:
        file: A PNG file.

    Returns:
        What is wrong and the way out, the rest of a sentence that begins with the
        file; None if nothing is, or if it cannot be read, which a server tells.
    """
    try:
        with Image.open(io.BytesIO(file)) as picture:
            if picture.mode.startswith("I"):
                # 16 bits, of which a server takes the upper 8.
                levels, alpha = np.asarray(picture) >> 8, np.uint8(255)
            else:
                levels = np.asarray(picture.convert("RGBA").convert("L"))
                alpha = np.asarray(picture.convert("RGBA"))[..., 3]
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    if alpha.min() < 255:
        return (
            "is transparent in parts, which a server takes for white; save it without "
            "transparency, white where the picture is redrawn and black elsewhere"
        )
    if levels.max() < _FAINT:
        return (
            f"is as good as empty: its brightest pixel is {levels.max()} of 255, and "
            "only where it is 255 the picture is redrawn in full; save it with white "
            "there and black elsewhere"
        )
    return None


def _wait(call: grpc.Future, seconds: float) -> None:
    """Waits for a call's end, so long at the most."""
    try:
        call.exception(max(0, seconds))
    except grpc.FutureTimeoutError:
        pass


def _told(tensors) -> dict[str, tuple[str, tuple]]:
    return {
        name: (
            types_pb2.DataType.Name(info.dtype),
            tuple(dim.size for dim in info.tensor_shape.dim),
        )
        for name, info in tensors.items()
    }


# The command line.

# Of a flag that becomes an input of 32 bits.
_MOST = 2**31 - 1
_MOST_SECONDS = 1e6


class _PathParser(flags.ArgumentParser):
    """Expands the home folder, as a shell does where a path stands alone."""

    syntactic_help = "a path"

    def parse(self, argument: str) -> str:
        path = os.path.expanduser(argument)
        if path.split("/", 1)[0] == "~":
            raise ValueError("the home folder is not known; give the whole path")
        return path


def _define_path(values: flags.FlagValues, name: str, meaning: str) -> None:
    flags.DEFINE(
        _PathParser(),
        name,
        None,
        meaning,
        flag_values=values,
        serializer=flags.ArgumentSerializer(),
    )


class _Failure(Exception):
    """What ends a command with one sentence and status 1."""


class _Usage(_Failure):
    """A flag or a combination of flags that cannot work; status 2."""


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
    _require(values, "injection_scale")
    image = _read_png(values, "input")
    masks = None
    if values.mask:
        masks = [_read_png(values, "mask")]
        fault = mask_fault(masks[0])
        if fault:
            raise _Failure(f"--mask={values.mask} {fault}.")
    _write_all(
        values,
        {
            f"seed_{seed:06d}.png": lambda seed=seed: client.edit(
                [image], values.injection_scale, masks, seed, png=True
            )
            for seed in _seed_list(values)
        },
    )


def _reconstruct(values: flags.FlagValues, client: SinGANClient) -> None:
    _write_all(values, {"reconstruction.png": lambda: client.reconstruct(png=True)})


def _status(values: flags.FlagValues, client: SinGANClient) -> None:
    states = client.status()
    for version, state in sorted(states.items()):
        _say(f"{values.model} version {version}: {state}")
    if "AVAILABLE" not in states.values():
        raise _Failure(f"No version of {values.model} is available at {values.target}.")


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
    _define_path(values, "input", "The image to enlarge.")
    flags.DEFINE_float(
        "factor", 4.0, f"From 1 to {MAX_FACTOR}.", 1, MAX_FACTOR, flag_values=values
    )


def _define_edit(values: flags.FlagValues) -> None:
    _define_output(values)
    _define_seeds(values)
    _define_path(values, "input", "The edited picture.")
    _define_path(
        values,
        "mask",
        "An image of the same size, white where the picture is redrawn and black "
        "elsewhere, used as it is, greys included; by default everything is redrawn.",
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
    _define_path(
        values,
        "output_dir",
        "Where images go; outputs/MODEL/served_COMMAND by default.",
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
    _define_path(
        values,
        "root_certificates",
        "A PEM file, trusted in place of the system's; implies --tls.",
    )


class Command(NamedTuple):
    """A command: its line of help, what it runs and which flags it takes."""

    help: str
    run: Callable[[flags.FlagValues, SinGANClient], None]
    define: Callable[[flags.FlagValues], None]


COMMANDS = {
    "sample": Command("Make new images of any size.", _sample, _define_sample),
    "super_resolve": Command(
        "Enlarge an image, with details in the photograph's texture.",
        _super_resolve,
        _define_super_resolve,
    ),
    "edit": Command(
        "Make an edited picture look like a photograph.", _edit, _define_edit
    ),
    "reconstruct": Command(
        "The photograph, as the model reproduces it.", _reconstruct, _define_output
    ),
    "status": Command("Tell which versions are served.", _status, lambda values: None),
}


def _require(values: flags.FlagValues, name: str) -> None:
    if values[name].value is None:
        raise _Usage(f"--{name} is missing: {values[name].help}")


def _seed_list(values: flags.FlagValues) -> list[int]:
    try:
        seeds = [int(text) for text in values.seeds]
    except ValueError:
        seeds = []
    if not seeds or max(map(abs, seeds)) >= 2**63:
        raise _Usage(
            f"--seeds={','.join(values.seeds)} must be 64-bit integers with commas "
            "between them."
        )
    return seeds


def _read_png(values: flags.FlagValues, name: str) -> bytes:
    """A file as PNG; what is one, and in sRGB, is sent as it is."""
    _require(values, name)
    path = values[name].value
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        # A pipe could keep a reader waiting for ever, and a device need not end.
        raise _Failure(
            f"--{name}={path} is a pipe, a device or a socket, and only files can be "
            "read; save what comes from it to a file first."
        )
    try:
        if os.path.getsize(path) >= _MAX_FILE_BYTES:
            raise _Failure(f"--{name}={path} has more than 2 GiB; shrink it first.")
        content = pathlib.Path(path).read_bytes()
        with warnings.catch_warnings():
            # Of damaged files, before the error that is told of here.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content)) as picture:
                profile = picture.info.get("icc_profile")
                if picture.format == "PNG" and not profile:
                    return content
                upright = ImageOps.exif_transpose(picture).convert("RGBA")
                converted = _to_srgb(upright, profile) if profile else None
                if converted is None:
                    is_png = picture.format == "PNG"
                    return content if is_png else _to_png(upright)
                _say(f"--{name}={path}: its colours were converted to sRGB.")
                return _to_png(converted)
    except _Failure:
        raise
    except UnidentifiedImageError:
        raise _Failure(
            f"--{name}={path} is not an image that can be read; convert it to PNG."
        ) from None
    except MemoryError:
        raise _Failure(
            f"--{name}={path} needs more memory than there is; shrink it first."
        ) from None
    except Exception as error:
        # For damaged files Pillow raises nearly anything.
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise _Failure(f"--{name}={path} cannot be read: {reason}.") from None


def _to_srgb(picture: Image.Image, profile: bytes) -> Optional[Image.Image]:
    """Converts an RGBA picture from its profile; None if that changes nothing.

    As `singan_tf.images.read` does it, so that a model is given the same colours. A
    server does not look at profiles.
    """
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            "RGBA",
            "RGBA",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            0x2000,  # with the black point's compensation
        )
    # It is broken, or not for RGB, or Pillow was built without LittleCMS.
    except (ImageCms.PyCMSError, OSError, ImportError):
        return None
    steps = np.linspace(0, 255, 18).astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    tried = Image.fromarray(colours).convert("RGBA")
    found = np.asarray(ImageCms.applyTransform(tried, transform))[..., :3]
    if np.abs(found.astype(int) - colours).max() <= 2:
        return None
    return ImageCms.applyTransform(picture, transform)


def _to_png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()


def _write_all(values: flags.FlagValues, files: dict) -> None:
    """Asks for one image after the other, so that none waits for the last."""
    folder = pathlib.Path(values.output_dir)
    try:
        filled = folder.is_dir() and any(folder.iterdir())
    except OSError as error:
        raise _Failure(
            f"--output_dir={folder} cannot be read ({error.strerror}); name another "
            "folder."
        ) from None
    if filled and not values.overwrite:
        raise _Failure(
            f"--output_dir={folder} is not empty; name another folder, or pass "
            "--overwrite to replace files in it."
        )
    pictures = []
    for name, ask in files.items():
        (picture,) = ask()
        _write(folder / name, picture)
        if len(pictures) < _SHEET_CELLS:
            pictures.append(picture)
    sheet = folder / "contact_sheet.png"
    _write(sheet, contact_sheet(pictures))
    _say(f"Wrote {folder}; see {sheet}")


def _write(path: pathlib.Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise _Failure(
            f"{path} cannot be written ({error.strerror}); name another --output_dir."
        ) from None


def _connect(values: flags.FlagValues) -> SinGANClient:
    certificates = None
    if values.root_certificates:
        try:
            certificates = pathlib.Path(values.root_certificates).read_bytes()
        except OSError as error:
            raise _Failure(
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
            on_wait=lambda seconds, reason: _complain(
                f"No server answers at {values.target} yet ({reason}); waiting, for at "
                f"most {seconds:.0f} s more."
            ),
        )
    except ValueError as error:
        raise _Usage(f"{error}.") from None


def _refusal(error: grpc.RpcError, target: str) -> str:
    details = " ".join((error.details() or "").split())
    if isinstance(error, NoServer):
        if any(sign in error.reason for sign in _UNKNOWN_HOST):
            return (
                f"--target={target} names a host that is not found ({error.reason}); "
                "name it as in localhost:8500."
            )
        if any(sign in error.reason for sign in _UNTRUSTED):
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


def _say(text: str) -> None:
    try:
        print(_printable(text), flush=True)
    except BrokenPipeError:
        # Who reads has left: what is still to say goes nowhere, and also at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(text: str) -> None:
    print(_printable(text), file=sys.stderr)


def _printable(text: str) -> str:
    """Shows what a name of a file could tell a terminal to do."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode()
        for each in text
    )


def _print_commands() -> None:
    _say("Usage: python -m export.client COMMAND [--flag ...]")
    _say("")
    for name, command in COMMANDS.items():
        _say(f"  {name:15}{command.help}")
    _say("")
    _say("python -m export.client COMMAND --help shows a command's flags.")


def _print_flags(name: str, values: flags.FlagValues) -> None:
    _say(f"python -m export.client {name}: {COMMANDS[name].help}")
    _say("")
    for flag in (values[flag_name] for flag_name in values):
        _say(f"  --{flag.name}={flag.default}")
        for line in textwrap.wrap(flag.help, 74):
            _say(f"      {line}")


def _run(argv: Sequence[str]) -> None:
    if len(argv) < 2 or argv[1] in ("-h", "--help", "-help", "help"):
        _print_commands()
        return
    name = argv[1]
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(COMMANDS)}."
        raise _Usage(f"There is no command {name}: {hint}")
    values = flags.FlagValues()
    _define_connection(values)
    COMMANDS[name].define(values)
    if {"-h", "--help", "-help", "--helpfull"} & set(argv[2:]):
        _print_flags(name, values)
        return
    try:
        rest = values([argv[0], *argv[2:]])
    except flags.Error as error:
        raise _Usage(" ".join(str(error).split())) from None
    for flag, value in values.flag_values_dict().items():
        # No range that absl checks keeps nan out, as it compares false.
        if isinstance(value, float) and not math.isfinite(value):
            raise _Usage(f"--{flag}={value} must be a finite number.")
    if len(rest) > 1:
        raise _Usage(f"{rest[1]} is not a flag; flags look like --name=value.")
    if "output_dir" in values and values.output_dir is None:
        values.output_dir = f"outputs/{values.model}/served_{name}"
    try:
        os.getcwd()
    except FileNotFoundError:
        raise _Failure("The working folder was removed; change to another.") from None
    with _connect(values) as client:
        try:
            COMMANDS[name].run(values, client)
        except grpc.RpcError as error:
            raise _Failure(_refusal(error, values.target)) from None


def main(argv: Sequence[str]) -> int:
    """Runs one command.

    Args:
        argv: As sys.argv.

    Returns:
        The exit status: 0, 1 for bad input or a refusal, 2 for bad usage, 130 after
        Ctrl-C.
    """
    try:
        _run(argv)
    except _Failure as error:
        _complain(f"error: {error}")
        return 2 if isinstance(error, _Usage) else 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    # A name may hold what the terminal's encoding has not.
    sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main(sys.argv))
