"""A small model that behaves as ours does, and a client for servers of either."""

import contextlib
import os
import pathlib
import time

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

from export import local_server, versions

NAME = "toy"
State = get_model_status_pb2.ModelVersionStatus


def require(condition, sentence):
    return tf.control_dependencies([tf.debugging.Assert(condition, [sentence])])


class Toy(tf.Module):
    """Multiplies by a number of its own, so that answers tell versions apart."""

    def __init__(self, factor):
        self.factor = tf.Variable(factor, dtype=tf.int64)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int64, "seed"),
            tf.TensorSpec([None], tf.float32, "scale"),
        ]
    )
    def multiply(self, seed, scale=tf.constant([1.0])):  # noqa: B008
        rows = tf.shape(seed)[0]
        same = tf.reduce_all(tf.logical_or(tf.size(scale) == 1, tf.size(scale) == rows))
        finite = tf.reduce_all(tf.math.is_finite(scale))
        with require(same, "seed and scale must have as many rows"):
            with require(finite, "scale must be finite"):
                product = tf.cast(seed * self.factor, tf.float32) * scale
        return {"product": product, "seed": tf.identity(seed)}

    @tf.function(
        input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, "image")]
    )
    def invert(self, image):
        return {"image": 255 - image}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def invert_png(self, image_bytes):
        def one(data):
            return tf.io.encode_png(255 - tf.io.decode_png(data, 3))

        return {"image_bytes": tf.map_fn(one, image_bytes)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, "steps")])
    def slow(self, steps):
        """About a millisecond a step."""
        matrix = tf.eye(300)
        for _ in tf.range(tf.reduce_max(steps)):
            matrix = tf.matmul(matrix, matrix)
        return {"trace": tf.fill(tf.shape(steps), tf.linalg.trace(matrix))}


def save_toy(folder, factor, warm_up=(1,)):
    """Writes a version; its warm-up records call it with these scales."""
    model = Toy(factor)
    signatures = {
        "serving_default": model.multiply,
        "invert": model.invert,
        "invert_png": model.invert_png,
        "slow": model.slow,
    }
    tf.saved_model.save(model, str(folder), signatures=signatures)
    extra = pathlib.Path(folder) / "assets.extra"
    extra.mkdir()
    with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as writer:
        for scale in warm_up:
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(request(seed=[1], scale=[scale]))
            writer.write(log.SerializeToString())


# A test that holds a worker leaves long before.
ENDLESS = 10**9
DTYPES = {
    "seed": np.int64,
    "scale": np.float32,
    "image": np.uint8,
    "image_bytes": object,
    "steps": np.int32,
    "start_scale": np.int32,
    "height": np.int32,
    "width": np.int32,
    "injection_scale": np.int32,
    "noise_scale": np.float32,
    "factor": np.float32,
    "mask": np.uint8,
    "mask_bytes": object,
}


def request(signature="", model=NAME, version=None, output_filter=(), **inputs):
    message = predict_pb2.PredictRequest(output_filter=output_filter)
    message.model_spec.name = model
    message.model_spec.signature_name = signature
    if version is not None:
        message.model_spec.version.value = version
    for name, value in inputs.items():
        array = np.asarray(value, DTYPES.get(name))
        message.inputs[name].CopyFrom(tf.make_tensor_proto(array))
    return message


def values(response, output):
    return tf.make_ndarray(response.outputs[output])


class Client:
    """Stubs of one channel."""

    def __init__(self, port, credentials=None):
        self.port = port
        target = f"localhost:{port}"
        options = [("grpc.max_receive_message_length", -1)]
        self.channel = (
            grpc.secure_channel(target, credentials, options)
            if credentials
            else grpc.insecure_channel(target, options)
        )
        stub = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.predict_async = stub.Predict.future
        self.prediction = stub
        self.model = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def predict(self, message, timeout=120):
        return self.prediction.Predict(message, timeout=timeout)

    def multiply(self, seed):
        """The answer's version and product."""
        response = self.predict(request(seed=[seed]))
        return response.model_spec.version.value, values(response, "product")[0]

    def refusal(self, message, timeout=120):
        """Code and details of the error that a request must meet."""
        try:
            self.predict(message, timeout)
        except grpc.RpcError as error:
            assert "\n" not in error.details()
            return error.code(), error.details()
        raise AssertionError("It was answered.")

    def states(self):
        message = get_model_status_pb2.GetModelStatusRequest()
        message.model_spec.name = NAME
        found = self.model.GetModelStatus(message, timeout=60).model_version_status
        return {status.version: status.state for status in found}


def make_server(base_path, **settings):
    """A server, not started, for this process, that polls often."""
    settings = {"host": "localhost", "port": 0, "poll_seconds": 0.05, **settings}
    return local_server.LocalServer(
        versions.Versions(NAME, pathlib.Path(base_path)),
        local_server.Settings(**settings),
    )


@contextlib.contextmanager
def serving(base_path, **settings):
    """A client of such a server, which runs meanwhile."""
    server = make_server(base_path, **settings)
    server.start()
    client = Client(server.port)
    client.server = server
    try:
        yield client
    finally:
        client.channel.close()
        server.stop()


def taken_up(client, message, timeout=None):
    """Sends a request, and waits until it runs or has a place in the queue."""
    gate = client.server._gate
    before = gate._free, len(gate._queue)
    sent = client.predict_async(message, timeout=timeout)
    eventually(lambda: (gate._free, len(gate._queue)) != before)
    return sent


def eventually(condition, seconds=120):
    """Waits for what must become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "It did not come true."
        time.sleep(0.02)


def resident_bytes():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
