"""Calls a served model by gRPC: `SinGANClient` in Python, `python -m export.client`.

The class needs grpc, numpy and tensorflow-serving-api, which needs the tensorflow
package and loads it, some seconds at the start, but nothing of singan_tf: copy this
file alone if you like. The command, in client_commands.py, is not copied with it.

    with SinGANClient("localhost:8500", model="coffee") as client:
        images = client.sample(seeds=[1, 2], height=96, width=128)

A call asks again until its deadline while the server is UNAVAILABLE or loads the model,
and for no other reason: every answer is a pure function of the request.
"""

import contextlib
import math
import queue
import random
import sys
import time
from collections.abc import Sequence
from typing import Any, Callable, Optional, Union

if __name__ == "__main__":
    try:
        from singan_tf.cli import quiet
    except ModuleNotFoundError as error:
        if error.name != "singan_tf":
            raise
        sys.exit(
            "error: This file alone has no commands; run python -m export.client in "
            "the repository's folder, or import SinGANClient in Python."
        )
    quiet.hush()

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
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
Made = Union[np.ndarray, list[bytes]]

# Seconds between attempts; they double from the first to the last.
_FIRST_PAUSE = 0.2
_LAST_PAUSE = 2.0
# Seconds without a server after which a call says that it waits.
_PATIENCE = 3.0
# What the details of UNAVAILABLE have where waiting helps nobody.
UNKNOWN_HOST = ("errors resolving", "DNS resolution failed")
UNTRUSTED = ("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER")
_HOPELESS = (*UNKNOWN_HOST, *UNTRUSTED)


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


class SinGANClient(contextlib.AbstractContextManager):
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
            target: The server's host and gRPC port, as in "localhost:8500"; several
                addresses of one name are used in turn.
            model: Its name at the server.
            version: The version to ask; by default the server's latest.
            label: The version label to ask, such as "stable"; not with `version`.
            deadline: Seconds that a call may take, with its waiting for a server.
            max_message_bytes: The largest request and answer.
            tls: Whether to encrypt, and to check the server's certificate.
            root_certificates: PEM; trusted in place of the system's. Implies `tls`.
            on_wait: Called once in a call that has waited three seconds, with the
                seconds for which it may still wait, and the reason.

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
        self._model = model_pb2.ModelSpec(name=model, version_label=label)
        if version is not None:
            self._model.version.value = version
        self._deadline, self._on_wait = deadline, on_wait or (lambda *_: None)
        options = [
            ("grpc.max_send_message_length", max_message_bytes),
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
            # Otherwise up to two minutes pass before it tries to connect again.
            ("grpc.max_reconnect_backoff_ms", int(1000 * _LAST_PAUSE)),
        ]
        if tls or root_certificates is not None:
            credentials = grpc.ssl_channel_credentials(root_certificates)
            channel = grpc.secure_channel(target, credentials, options)
        else:
            channel = grpc.insecure_channel(target, options)
        self._channel = channel
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(channel)

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
    ) -> Made:
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
        row_seeds = _seeds(seeds)
        count = len(row_seeds)
        inputs = {
            "seed": row_seeds,
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
    ) -> Made:
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
        inputs["factor"] = _rows("factor", factor, count, np.float32, 1, MAX_FACTOR)
        inputs["seed"] = _rows("seeds", seeds, count, np.int64, -math.inf)
        return self._draw("super_resolve", inputs, png)

    def edit(
        self,
        images: Images,
        injection_scale: Union[int, Sequence[int]],
        masks: Optional[Images] = None,
        seeds: Union[int, Sequence[int]] = 0,
        png: bool = False,
    ) -> Made:
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
            whole = np.full(shape, 255, np.uint8)
            masks = _pixels("masks", whole if masks is None else masks)
            if masks.shape != shape:
                raise ValueError(f"masks must be {list(shape)}, not {[*masks.shape]}")
            inputs["mask"] = masks
        scales = _rows("injection_scale", injection_scale, count, np.int32, least=1)
        inputs["injection_scale"] = scales
        inputs["seed"] = _rows("seeds", seeds, count, np.int64, -math.inf)
        return self._draw("edit", inputs, png)

    def reconstruct(self, count: int = 1, png: bool = False) -> Made:
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
        name = get_model_status_pb2.ModelVersionStatus.State.Name
        return {
            each.version: ": ".join(
                filter(None, (name(each.state), each.status.error_message))
            )
            for each in answer.model_version_status
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

    def _draw(self, signature: str, inputs: dict[str, Any], png: bool) -> Made:
        request = predict_pb2.PredictRequest(model_spec=self._model)
        request.model_spec.signature_name = f"{signature}_png" if png else signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        output = "image_bytes" if png else "image"
        request.output_filter.append(output)
        answer = self._ask(self._predictions.Predict, request)
        made = tf.make_ndarray(answer.outputs[output])
        return list(made) if png else made

    def _ask(self, method: grpc.UnaryUnaryMultiCallable, request: Any) -> Any:
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
                    with contextlib.suppress(grpc.FutureTimeoutError):
                        call.exception(max(0, _PATIENCE - waited()))
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
            if waited() >= _PATIENCE and any(sign in reason for sign in _HOPELESS):
                break
            tell(reason)
            # Clients that wait for one server shall not come all at once.
            seconds = random.uniform(0.8, 1.2) * pause
            time.sleep(max(0, min(seconds, self._deadline - waited())))
            pause = min(2 * pause, _LAST_PAUSE)
        raise NoServer(min(waited(), self._deadline), reason)

    def _is_connected(self) -> bool:
        states: queue.SimpleQueue[grpc.ChannelConnectivity] = queue.SimpleQueue()
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


def _seeds(seeds: Any) -> np.ndarray:
    seeds = np.atleast_1d(np.asarray(seeds))
    if seeds.ndim != 1 or not seeds.size:
        raise ValueError("seeds must be a whole number or a list of them, not empty")
    return _rows("seeds", seeds, len(seeds), np.int64, -math.inf)


def _rows(
    name: str,
    value: Any,
    count: int,
    dtype: type,
    least: float = 0,
    most: float = math.inf,
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


def _image_inputs(images: Images, png: bool) -> dict[str, Any]:
    if len(images) == 0:
        raise ValueError("images must hold at least one")
    if png:
        return {"image_bytes": _png_files("images", images)}
    pixels = _pixels("images", images)
    if pixels.shape[-1] not in (1, 3):
        raise ValueError(f"images must have 1 or 3 channels, not {pixels.shape[-1]}")
    return {"image": pixels}


def _png_files(name: str, files: Any) -> list[bytes]:
    if isinstance(files, bytes) or not all(isinstance(file, bytes) for file in files):
        raise ValueError(f"with png=True, {name} must be a list of bytes")
    return list(files)


def _pixels(name: str, arrays: Any) -> np.ndarray:
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


def _told(tensors: Any) -> dict[str, tuple[str, tuple]]:
    return {
        name: (
            types_pb2.DataType.Name(info.dtype),
            tuple(dim.size for dim in info.tensor_shape.dim),
        )
        for name, info in tensors.items()
    }


if __name__ == "__main__":
    from export.client_commands import start

    sys.exit(start())
