"""A gRPC server for one exported model, for development and small installations.

Speaks TensorFlow Serving's API over TensorFlow Serving's files, with its error codes:
Predict, GetModelMetadata, GetModelStatus and the standard health check. Other calls
are answered UNIMPLEMENTED, another model's name NOT_FOUND and a version label
INVALID_ARGUMENT. It has no REST and no batching.
"""

import collections
import contextlib
import logging
import pathlib
import ssl
import threading
from collections.abc import Iterator
from concurrent import futures
from typing import Callable, NamedTuple, NoReturn, Optional

import grpc
from google.protobuf import message, wrappers_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from export.servable import Refused
from export.versions import Versions
from singan_tf.errors import UserError

logger = logging.getLogger(__name__)

# Threads beyond those of requests that run and wait: for refusals and status.
_SPARE_THREADS = 8
_PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
_MODEL_SERVICE = "tensorflow.serving.ModelService"
_HEALTH_SERVICE = "grpc.health.v1.Health"
_SERVING, _NOT_SERVING = 1, 2


class Settings(NamedTuple):
    """How to serve.

    Attributes:
        host: Name or address to listen on.
        port: 0 for any that is free.
        workers: Requests that run at a time.
        waiting: Requests that may wait for a worker; more are refused.
        max_message_bytes: Of a request and of an answer.
        poll_seconds: Between two looks for new versions.
        grace_seconds: How long a stopping server lets requests finish.
        tls_cert: PEM file of the certificate chain; None for plain text.
        tls_key: PEM file of its private key; both or neither.
    """

    host: str = "127.0.0.1"
    port: int = 8500
    workers: int = 2
    waiting: int = 64
    # TensorFlow Serving's limit, and protobuf's.
    max_message_bytes: int = 2**31 - 1
    poll_seconds: float = 1.0
    grace_seconds: float = 20.0
    tls_cert: Optional[pathlib.Path] = None
    tls_key: Optional[pathlib.Path] = None


class LocalServer:
    """Serves the versions of one model until it is stopped."""

    def __init__(self, versions: Versions, settings: Settings):
        """Takes the port; answers nobody before start.

        Args:
            versions: Polled from start to stop, and closed then.
            settings: How to serve.

        Raises:
            UserError: The port is taken, or the PEM files are of no use.
        """
        self._versions = versions
        self._settings = settings
        self._gate = _Gate(settings.workers, settings.waiting)
        self._stopping = threading.Event()
        self._poller = threading.Thread(target=self._poll, daemon=True)
        threads = settings.workers + settings.waiting + _SPARE_THREADS
        limit = settings.max_message_bytes
        self._server = grpc.server(
            futures.ThreadPoolExecutor(threads),
            options=[
                ("grpc.max_receive_message_length", limit),
                ("grpc.max_send_message_length", limit),
                # Otherwise a second server could share the port unnoticed.
                ("grpc.so_reuseport", 0),
            ],
        )
        self._server.add_generic_rpc_handlers(self._handlers())
        self.port = _listen(self._server, settings)

    def start(self) -> None:
        """Loads the highest version that can be, and begins to answer.

        Raises:
            UserError: No version can be loaded.
        """
        self._versions.poll()
        if self._versions.current is None:
            self.stop()
            reasons = [
                f"version {version}: {status.message or 'saved_model.pb is missing'}"
                for version, status in self._versions.statuses().items()
            ]
            raise UserError(
                f"{self._versions.base_path} has no version that can be loaded ("
                f"{'; '.join(reasons) or 'no folder named by a number'}); make one "
                "with python main.py export."
            )
        self._poller.start()
        self._server.start()
        logger.info(
            "Answering at %s.", _address(self._settings._replace(port=self.port))
        )

    def stop(self) -> None:
        """Refuses new requests, lets those that run finish, cancels those too slow."""
        self._stopping.set()
        self._server.stop(self._settings.grace_seconds).wait()
        if self._poller.is_alive():
            self._poller.join(self._settings.grace_seconds)
        self._versions.close()

    def _poll(self) -> None:
        while not self._stopping.wait(self._settings.poll_seconds):
            try:
                self._versions.poll(self._gate.one_fewer)
            except Exception:  # Service goes on with what is loaded.
                logger.exception("Looking for new versions failed.")

    def _handlers(self) -> list[grpc.GenericRpcHandler]:
        predict = _method(predict_pb2.PredictRequest, self._predict)
        metadata = _method(
            get_model_metadata_pb2.GetModelMetadataRequest, self._metadata
        )
        status = _method(get_model_status_pb2.GetModelStatusRequest, self._status)
        services = {
            _PREDICTION_SERVICE: {
                "Predict": predict,
                "GetModelMetadata": metadata,
                "Classify": _unimplemented(classification_pb2.ClassificationRequest),
                "Regress": _unimplemented(regression_pb2.RegressionRequest),
                "MultiInference": _unimplemented(inference_pb2.MultiInferenceRequest),
            },
            _MODEL_SERVICE: {
                "GetModelStatus": status,
                "HandleReloadConfigRequest": _unimplemented(
                    model_management_pb2.ReloadConfigRequest
                ),
            },
            # On the wire HealthCheckRequest, a string, is a StringValue, and
            # HealthCheckResponse, an enum, an Int32Value.
            _HEALTH_SERVICE: {"Check": _method(wrappers_pb2.StringValue, self._health)},
        }
        return [
            grpc.method_handlers_generic_handler(service, methods)
            for service, methods in services.items()
        ]

    def _predict(
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        _require_spec(request)
        with self._gate.turn(context):
            with self._versions.lease(request.model_spec) as servable:
                response = servable.predict(
                    request, context.time_remaining(), context.is_active
                )
        size, limit = response.ByteSize(), self._settings.max_message_bytes
        if size > limit:
            raise Refused(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"The answer's {size} bytes are more than the server's limit of "
                f"{limit}.",
            )
        return response

    def _metadata(
        self,
        request: get_model_metadata_pb2.GetModelMetadataRequest,
        context: grpc.ServicerContext,
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        _require_spec(request)
        if not request.metadata_field:
            raise Refused(
                grpc.StatusCode.INVALID_ARGUMENT,
                "GetModelMetadataRequest must specify at least one metadata_field",
            )
        for field in request.metadata_field:
            if field != "signature_def":
                raise Refused(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"Metadata field {field} is not supported",
                )
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        signatures = get_model_metadata_pb2.SignatureDefMap()
        with self._versions.lease(request.model_spec) as servable:
            for name, signature in servable.signatures.items():
                signatures.signature_def[name].CopyFrom(signature)
            response.model_spec.name = servable.name
            response.model_spec.version.value = servable.version
        response.metadata["signature_def"].Pack(signatures)
        return response

    def _status(
        self,
        request: get_model_status_pb2.GetModelStatusRequest,
        context: grpc.ServicerContext,
    ) -> get_model_status_pb2.GetModelStatusResponse:
        _require_spec(request)
        spec = request.model_spec
        statuses = self._versions.statuses() if spec.name == self._versions.name else {}
        if spec.HasField("version"):
            version = spec.version.value
            if version not in statuses:
                raise Refused(
                    grpc.StatusCode.NOT_FOUND,
                    f"Could not find version {version} of model {spec.name}",
                )
            statuses = {version: statuses[version]}
        if not statuses:
            raise Refused(
                grpc.StatusCode.NOT_FOUND,
                f"Could not find any versions of model {spec.name}",
            )
        response = get_model_status_pb2.GetModelStatusResponse()
        for version, status in statuses.items():
            found = response.model_version_status.add(
                version=version, state=status.state
            )
            found.status.error_code = status.code.value[0]
            found.status.error_message = status.message
        return response

    def _health(
        self, request: wrappers_pb2.StringValue, context: grpc.ServicerContext
    ) -> wrappers_pb2.Int32Value:
        if request.value not in ("", _PREDICTION_SERVICE, _MODEL_SERVICE):
            raise Refused(grpc.StatusCode.NOT_FOUND, "There is no such service.")
        serving = self._versions.current is not None and not self._stopping.is_set()
        return wrappers_pb2.Int32Value(value=_SERVING if serving else _NOT_SERVING)


class _Gate:
    """Lets a few requests run, some wait in the order they came, and no more in."""

    def __init__(self, running: int, waiting: int):
        self._lock = threading.Lock()
        self._running = running
        # Below 0 while more run than may.
        self._free = running
        self._waiting = waiting
        self._queue: collections.deque[threading.Event] = collections.deque()

    @contextlib.contextmanager
    def turn(self, context: grpc.ServicerContext) -> Iterator[None]:
        """Waits for a worker.

        Args:
            context: Of the request, which leaves the queue when its client or its
                time has gone.

        Yields:
            None, once it may run.

        Raises:
            Refused: Too many wait, or the request has ended meanwhile.
        """
        called = threading.Event()
        with self._lock:
            if self._free > 0:
                self._free -= 1
                called.set()
            elif len(self._queue) < self._waiting:
                self._queue.append(called)
            else:
                raise Refused(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"{self._waiting} requests wait already; try again later.",
                )
        if not context.add_callback(called.set):
            called.set()
        called.wait()
        with self._lock:
            if called in self._queue:
                self._queue.remove(called)
                raise _ended()
        try:
            if not context.is_active():
                raise _ended()
            yield
        finally:
            self._admit(1)

    @contextlib.contextmanager
    def one_fewer(self) -> Iterator[None]:
        """Lets one request fewer run meanwhile, but always one.

        Otherwise what TensorFlow does to load a version, in one thread, would get a
        small part of the cores, and take several times as long.

        Yields:
            None, at once: those that run already are not stopped.
        """
        places = min(1, self._running - 1)
        self._admit(-places)
        try:
            yield
        finally:
            self._admit(places)

    def _admit(self, places: int) -> None:
        """Adds places that are free, and calls who waits for them."""
        with self._lock:
            self._free += places
            while self._queue and self._free > 0:
                self._free -= 1
                self._queue.popleft().set()


def _ended() -> Refused:
    # Nobody hears it: gRPC has answered already.
    return Refused(grpc.StatusCode.CANCELLED, "The request ended while it waited.")


def _require_spec(request: message.Message) -> None:
    if not request.HasField("model_spec"):
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "Missing ModelSpec")


def _unimplemented(request_type: type) -> grpc.RpcMethodHandler:
    def refuse(request: message.Message, context: grpc.ServicerContext) -> NoReturn:
        raise Refused(
            grpc.StatusCode.UNIMPLEMENTED,
            f"The local server takes no {request_type.__name__}; "
            "tensorflow_model_server does.",
        )

    return _method(request_type, refuse)


def _method(request_type: type, function: Callable) -> grpc.RpcMethodHandler:
    """Wraps a function of messages so that each of its errors has a gRPC code."""

    def answer(data: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return function(request_type.FromString(data), context).SerializeToString()
        except Refused as refused:
            code, sentence = refused.code, str(refused)
        except message.DecodeError:
            code = grpc.StatusCode.INVALID_ARGUMENT
            sentence = f"The request is not a {request_type.__name__}."
        except Exception:
            logger.exception("A request met an error of the server.")
            code, sentence = grpc.StatusCode.INTERNAL, "The server's log says more."
        context.abort(code, sentence)

    return grpc.unary_unary_rpc_method_handler(answer)


def _listen(server: grpc.Server, settings: Settings) -> int:
    address = _address(settings)
    try:
        if settings.tls_cert:
            return server.add_secure_port(address, _credentials(settings))
        return server.add_insecure_port(address)
    except RuntimeError:
        raise UserError(
            f"Nothing can listen at {address}, which is in use or not of this machine; "
            "choose another port or host."
        ) from None


def _credentials(settings: Settings) -> grpc.ServerCredentials:
    cert, key = settings.tls_cert, settings.tls_key
    try:
        # gRPC would only say that it cannot listen. No password is asked for.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key, password="")
        pair = key.read_bytes(), cert.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"tls_cert={cert} and tls_key={key} must be readable PEM files that "
            f"belong together ({reason})."
        ) from None
    return grpc.ssl_server_credentials([pair])


def _address(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{host}:{settings.port}"
