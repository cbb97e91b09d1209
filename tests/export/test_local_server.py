import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from helpers import ROOT, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from serving_helpers import (
    NAME,
    Client,
    State,
    eventually,
    request,
    save_toy,
    serving,
    taken_up,
)
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from export import local_server, rows, servable, versions
from export.servable import Refused, Servable
from singan_tf.errors import UserError

Code = grpc.StatusCode


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """Versions 1 to 3 of the model, in folders to copy from."""
    folder = tmp_path_factory.mktemp("toys")
    for version in (1, 2, 3):
        save_toy(folder / str(version), factor=version)
    return folder


@pytest.fixture(scope="module")
def client(toys, tmp_path_factory):
    """Of a server of version 1 alone."""
    base_path = tmp_path_factory.mktemp("models")
    shutil.copytree(toys / "1", base_path / "1")
    with serving(base_path, max_message_bytes=1 << 20) as client:
        yield client


@pytest.fixture
def base_path(toys, tmp_path):
    """A folder with version 1, to add to."""
    shutil.copytree(toys / "1", tmp_path / "models" / "1")
    return tmp_path / "models"


def values(response, output):
    return tf.make_ndarray(response.outputs[output])


# Predict


def test_an_answer_has_all_outputs_and_says_what_answered(client):
    response = client.predict(request(seed=[2, 3], scale=[10, 100]))
    assert set(response.outputs) == {"product", "seed"}
    np.testing.assert_array_equal(values(response, "product"), [20, 300])
    assert response.model_spec.name == NAME
    assert response.model_spec.version.value == 1
    assert response.model_spec.signature_name == "serving_default"


def test_a_version_can_be_asked_for_by_number(client):
    response = client.predict(request(version=1, seed=[2]))
    assert response.model_spec.version.value == 1


def test_inputs_left_out_have_their_defaults(client):
    response = client.predict(request(seed=[2, 3]))
    np.testing.assert_array_equal(values(response, "product"), [2, 3])


def test_output_filter_chooses_outputs(client):
    response = client.predict(request(seed=[2], output_filter=["seed"]))
    assert set(response.outputs) == {"seed"}


def test_images_and_png_go_both_ways(client):
    image = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), np.uint8)
    response = client.predict(request("invert", image=image))
    np.testing.assert_array_equal(values(response, "image"), 255 - image)
    data = [tf.io.encode_png(row).numpy() for row in image]
    response = client.predict(request("invert_png", image_bytes=data))
    for row, answer in zip(image, values(response, "image_bytes")):
        np.testing.assert_array_equal(tf.io.decode_png(answer), 255 - row)


def without_spec():
    message = request(seed=[1])
    message.ClearField("model_spec")
    return message


def with_label():
    message = request(seed=[1])
    message.model_spec.version_label = "stable"
    return message


@pytest.mark.parametrize(
    ("message", "code", "part"),
    [
        (without_spec(), Code.INVALID_ARGUMENT, "Missing ModelSpec"),
        (
            request(model="", seed=[1]),
            Code.INVALID_ARGUMENT,
            "ModelSpec has no name specified.",
        ),
        (
            request(model="other", seed=[1]),
            Code.NOT_FOUND,
            "Servable not found for request: Latest(other)",
        ),
        (
            request(version=7, seed=[1]),
            Code.NOT_FOUND,
            "Servable not found for request: Specific(toy, 7)",
        ),
        (
            # What other clients send for the latest, ovmsclient among them.
            request(version=0, seed=[1]),
            Code.NOT_FOUND,
            "Servable not found for request: Specific(toy, 0)",
        ),
        (
            with_label(),
            Code.INVALID_ARGUMENT,
            "Unrecognized servable version label: stable",
        ),
        (
            request("nothing", seed=[1]),
            Code.FAILED_PRECONDITION,
            'Serving signature key "nothing" not found.',
        ),
        (
            request("__saved_model_init_op"),
            Code.FAILED_PRECONDITION,
            'Serving signature key "__saved_model_init_op" not found.',
        ),
        (request(scale=[1]), Code.INVALID_ARGUMENT, "alias: seed not found in request"),
        (
            request("invert"),
            Code.INVALID_ARGUMENT,
            "0!=1 len({}) != len({image}). Sent extra: {}. Missing but required: "
            "{image}.",
        ),
        (
            request(seed=[1], scale=[1], more=[1.0]),
            Code.INVALID_ARGUMENT,
            "Sent extra: {more}",
        ),
        (
            request(seed=[1], more=[1.0]),
            Code.INVALID_ARGUMENT,
            "Inputs contains invalid name",
        ),
        (
            request("slow", seed=[1]),
            Code.INVALID_ARGUMENT,
            "Signature input alias: steps not found",
        ),
        (
            request(seed=[1], output_filter=["more"]),
            Code.INVALID_ARGUMENT,
            "output tensor alias not found in signature: more",
        ),
        (
            request(seed=[1], output_filter=["seed", "seed"]),
            Code.INVALID_ARGUMENT,
            "duplicate output tensor alias: seed",
        ),
        (
            request(seed=[[1]]),
            Code.INVALID_ARGUMENT,
            "seed must have the shape [?], not [1,1]",
        ),
        (
            request("invert", image=np.zeros((1, 2, 2, 4))),
            Code.INVALID_ARGUMENT,
            "image must have the shape [?,?,?,3], not [1,2,2,4]",
        ),
        (
            request(seed=[1], scale=[np.nan]),
            Code.INVALID_ARGUMENT,
            "scale must be finite",
        ),
        (
            request(seed=[1, 2], scale=[1, 2, 3]),
            Code.INVALID_ARGUMENT,
            "seed and scale must have as many rows",
        ),
        (
            request("invert_png", image_bytes=[b"no image"]),
            Code.INVALID_ARGUMENT,
            "PNG",
        ),
    ],
)
def test_what_does_not_fit_is_refused_as_by_tensorflow_serving(
    client, message, code, part
):
    found, details = client.refusal(message)
    assert found == code
    assert part in details
    assert "node" not in details


def test_a_wrong_dtype_is_refused(client):
    message = request(seed=[1])
    message.inputs["seed"].CopyFrom(tf.make_tensor_proto(np.float32([1])))
    code, details = client.refusal(message)
    assert code == Code.INVALID_ARGUMENT
    assert "seed must be int64, not float32" in details


@pytest.mark.parametrize("name", ["a\nb", "x" * 100_000, "\U0001f600" * 10_000])
def test_names_of_any_kind_come_back_in_one_short_line(client, name):
    code, details = client.refusal(request(name, seed=[1]))
    assert code == Code.FAILED_PRECONDITION
    assert len(details) <= 500
    code, _ = client.refusal(request(model=name, seed=[1]))
    assert code == Code.NOT_FOUND


def test_bytes_that_are_no_message_are_refused(client):
    call = client.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    with pytest.raises(grpc.RpcError) as error:
        call(b"\xff\xff\xff", timeout=10)
    assert error.value.code() == Code.INVALID_ARGUMENT


def tensor(shape, dtype=tf.int64, **fields):
    proto = tf.make_tensor_proto(np.zeros([0], dtype.as_numpy_dtype))
    proto.tensor_shape.Clear()
    for side in shape:
        proto.tensor_shape.dim.add(size=side)
    for name, value in fields.items():
        getattr(proto, name).extend(value)
    return proto


def test_short_lists_of_values_fill_their_tensor(client):
    """As TensorFlow's own decoder has it."""
    for fields in ({}, {"int64_val": [7]}, {"int64_val": [7, 8]}):
        proto = tensor([5], **fields)
        message = request(seed=[0])
        message.inputs["seed"].CopyFrom(proto)
        expected = tf.io.parse_tensor(proto.SerializeToString(), tf.int64)
        np.testing.assert_array_equal(
            values(client.predict(message), "seed"), expected.numpy()
        )


@pytest.mark.parametrize(
    "shape", [[1 << 40], [1 << 62, 4], [100_000, 100_000, 100_000, 3]]
)
@pytest.mark.parametrize("name", ["seed", "image", "image_bytes"])
def test_shapes_that_hold_nothing_cost_no_memory(client, name, shape):
    dtypes = {"seed": tf.int64, "image": tf.uint8, "image_bytes": tf.string}
    signatures = {"seed": "", "image": "invert", "image_bytes": "invert_png"}
    message = request(signatures[name])
    message.inputs[name].CopyFrom(tensor(shape, dtypes[name]))
    before = resident_bytes()
    code, details = client.refusal(message)
    assert code == Code.INVALID_ARGUMENT
    assert name in details
    assert resident_bytes() < before + (64 << 20)


# The other methods


def test_metadata_is_what_the_file_says(client, toys):
    stored = saved_model_pb2.SavedModel.FromString(
        (toys / "1" / "saved_model.pb").read_bytes()
    )
    message = get_model_metadata_pb2.GetModelMetadataRequest(
        metadata_field=["signature_def"]
    )
    message.model_spec.name = NAME
    response = client.prediction.GetModelMetadata(message, timeout=10)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    assert response.model_spec.version.value == 1
    expected = stored.meta_graphs[0].signature_def
    assert {name: found.signature_def[name] for name in found.signature_def} == {
        name: expected[name] for name in expected
    }


@pytest.mark.parametrize(
    ("name", "fields", "code"),
    [
        (NAME, [], Code.INVALID_ARGUMENT),
        (NAME, ["graph"], Code.INVALID_ARGUMENT),
        ("other", ["signature_def"], Code.NOT_FOUND),
        (None, ["signature_def"], Code.INVALID_ARGUMENT),
    ],
)
def test_metadata_of_something_else_is_refused(client, name, fields, code):
    message = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    if name:
        message.model_spec.name = name
    with pytest.raises(grpc.RpcError) as error:
        client.prediction.GetModelMetadata(message, timeout=10)
    assert error.value.code() == code


def test_status_of_all_and_of_one(client):
    assert client.states() == {1: State.AVAILABLE}
    message = get_model_status_pb2.GetModelStatusRequest()
    message.model_spec.name = NAME
    message.model_spec.version.value = 1
    (status,) = client.model.GetModelStatus(message).model_version_status
    assert (status.version, status.status.error_code) == (1, 0)
    message.model_spec.version.value = 9
    with pytest.raises(grpc.RpcError, match="Could not find version 9 of model toy"):
        client.model.GetModelStatus(message)
    message.model_spec.name = "other"
    message.model_spec.ClearField("version")
    with pytest.raises(grpc.RpcError, match="any versions of model other") as error:
        client.model.GetModelStatus(message)
    assert error.value.code() == Code.NOT_FOUND


def test_what_the_local_server_lacks_is_unimplemented(client):
    stub = client.prediction
    for call, message in (
        (stub.Classify, classification_pb2.ClassificationRequest()),
        (stub.Regress, regression_pb2.RegressionRequest()),
        (stub.MultiInference, inference_pb2.MultiInferenceRequest()),
        (
            client.model.HandleReloadConfigRequest,
            model_management_pb2.ReloadConfigRequest(),
        ),
    ):
        with pytest.raises(grpc.RpcError) as error:
            call(message, timeout=10)
        assert error.value.code() == Code.UNIMPLEMENTED


def health_messages():
    """The standard's own messages, from its published definition."""
    file = descriptor_pb2.FileDescriptorProto(
        name="health.proto", package="grpc.health.v1", syntax="proto3"
    )
    asked = file.message_type.add(name="HealthCheckRequest")
    asked.field.add(name="service", number=1, type=9, label=1)
    answered = file.message_type.add(name="HealthCheckResponse")
    statuses = answered.enum_type.add(name="ServingStatus")
    for number, name in enumerate(("UNKNOWN", "SERVING", "NOT_SERVING")):
        statuses.value.add(name=name, number=number)
    answered.field.add(
        name="status",
        number=1,
        type=14,
        label=1,
        type_name=".grpc.health.v1.HealthCheckResponse.ServingStatus",
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return (
        message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
        for name in (
            "grpc.health.v1.HealthCheckRequest",
            "grpc.health.v1.HealthCheckResponse",
        )
    )


def test_the_standard_health_check_is_answered(client):
    asked, answered = health_messages()
    check = client.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=asked.SerializeToString,
        response_deserializer=answered.FromString,
    )
    for service in ("", "tensorflow.serving.PredictionService"):
        assert check(asked(service=service), timeout=10).status == 1
    with pytest.raises(grpc.RpcError) as error:
        check(asked(service="another"), timeout=10)
    assert error.value.code() == Code.NOT_FOUND


# Limits


def test_messages_over_the_limit_are_refused_either_way(client):
    image = np.zeros((1, 800, 800, 3), np.uint8)
    code, _ = client.refusal(request("invert", image=image))
    assert code == Code.RESOURCE_EXHAUSTED
    # A few bytes of request that make a large answer.
    message = request("invert")
    message.inputs["image"].CopyFrom(tensor([1, 800, 800, 3], tf.uint8))
    code, details = client.refusal(message)
    assert code == Code.RESOURCE_EXHAUSTED
    assert "1048576" in details


@pytest.fixture
def narrow(base_path):
    """One worker, and one request may wait for it."""
    with serving(base_path, workers=1, waiting=1) as client:
        # A signature's first call takes longer.
        client.predict(request("slow", steps=[1]))
        yield client


ENDLESS = 10**9


def test_a_run_ends_at_its_deadline(narrow):
    start = time.monotonic()
    code, _ = narrow.refusal(request("slow", steps=[ENDLESS]), timeout=0.5)
    assert code == Code.DEADLINE_EXCEEDED
    # The worker is free again.
    assert narrow.multiply(4) == (1, 4)
    assert time.monotonic() - start < 10


def test_too_many_are_refused_and_the_rest_wait(narrow):
    running = taken_up(narrow, request("slow", steps=[ENDLESS]), timeout=5)
    waiting = taken_up(narrow, request(seed=[5]), timeout=30)
    code, details = narrow.refusal(request(seed=[6]))
    assert code == Code.RESOURCE_EXHAUSTED
    assert "1 requests wait already" in details
    # Status is answered meanwhile.
    assert narrow.states() == {1: State.AVAILABLE}
    assert running.code() == Code.DEADLINE_EXCEEDED
    assert values(waiting.result(), "product") == [5]


def test_who_leaves_the_queue_is_not_run(narrow):
    running = taken_up(narrow, request("slow", steps=[ENDLESS]), timeout=5)
    # Its time passes in the queue; run, it would hold the worker without end.
    late = narrow.predict_async(request("slow", steps=[ENDLESS]), timeout=0.3)
    assert late.code() == Code.DEADLINE_EXCEEDED
    # Its place is free; the next one's client goes away.
    eventually(lambda: not narrow.server._gate._queue)
    gone = taken_up(narrow, request("slow", steps=[ENDLESS]))
    gone.cancel()
    assert running.code() == Code.DEADLINE_EXCEEDED
    assert narrow.multiply(3) == (1, 3)


def test_a_client_that_vanishes_while_it_is_served_frees_its_worker(narrow):
    running = taken_up(narrow, request("slow", steps=[300]))
    running.cancel()
    assert narrow.multiply(3) == (1, 3)


def resident_bytes():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_memory_stays_flat(client):
    image = np.zeros((1, 200, 200, 3), np.uint8)
    calls = [request("invert", image=image), request(seed=[1], scale=[np.nan])]

    def call(times):
        for _ in range(times):
            client.predict(calls[0])
            client.refusal(calls[1])

    call(50)
    before = resident_bytes()
    call(300)
    # Kept, the answers alone would take 36 MB.
    assert resident_bytes() < before + (8 << 20)


# Versions


def bring_in(version, place):
    """As a version should come: copied beside its place, then renamed."""
    copying = place.with_name("copying")
    shutil.copytree(version, copying)
    copying.rename(place)


def copy_slowly(source, target, seconds=0.02):
    """File by file, each in two pieces."""
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        data = path.read_bytes()
        with open(place, "wb", buffering=0) as file:
            for piece in (data[: len(data) // 2], data[len(data) // 2 :]):
                file.write(piece)
                time.sleep(seconds)


class Load:
    """Clients that call without a pause; their answers must fit their versions."""

    def __init__(self, client, threads=4):
        self._stop = threading.Event()
        self._seen = [[] for _ in range(threads)]
        self._pool = concurrent.futures.ThreadPoolExecutor(threads)
        self._futures = [
            self._pool.submit(self._call, client, seed) for seed in range(threads)
        ]

    def _call(self, client, seed):
        while not self._stop.is_set():
            version, product = client.multiply(seed)
            assert product == seed * version
            self._seen[seed].append(version)

    def reached(self, version):
        """Whether every client's last answer came from this version."""
        return all(seen[-1:] == [version] for seen in self._seen)

    def stop(self):
        """Versions in the order they answered, by client; raises their errors."""
        self._stop.set()
        for future in self._futures:
            future.result()
        self._pool.shutdown()
        return self._seen


def test_new_versions_are_swapped_in_under_load(base_path, toys):
    with serving(base_path) as client:
        load = Load(client)
        eventually(lambda: load.reached(1))
        (base_path / "notes").mkdir()
        copy_slowly(toys / "2", base_path / "2", seconds=0.1)
        eventually(lambda: load.reached(2))
        bring_in(toys / "3", base_path / "3")
        eventually(lambda: load.reached(3))
        for seen in load.stop():
            # Never back.
            assert seen == sorted(seen)
            assert set(seen) == {1, 2, 3}
        eventually(
            lambda: client.states() == {1: State.END, 2: State.END, 3: State.AVAILABLE}
        )
        assert client.refusal(request(version=2, seed=[1]))[0] == Code.NOT_FOUND


def test_the_old_version_goes_after_its_last_request(base_path, toys):
    with serving(base_path) as client:
        client.predict(request("slow", steps=[1]))
        running = taken_up(client, request("slow", steps=[10_000]))
        bring_in(toys / "2", base_path / "2")
        eventually(lambda: client.multiply(1)[0] == 2)
        assert client.states()[1] == State.UNLOADING
        assert running.result(120).model_spec.version.value == 1
        eventually(lambda: client.states()[1] == State.END)


@pytest.fixture
def warms_up(toys, base_path, monkeypatch):
    """An event, and a function that brings a version 2, whose warm-up waits for it."""
    goes_on = threading.Event()
    warm_up = Servable._warm_up

    def wait_and_warm_up(loading, path):
        if loading.version == 2:
            assert goes_on.wait(120)
        warm_up(loading, path)

    monkeypatch.setattr(Servable, "_warm_up", wait_and_warm_up)

    def bring(client):
        bring_in(toys / "2", base_path / "2")
        eventually(lambda: client.states().get(2) == State.LOADING)

    yield goes_on, bring
    goes_on.set()


def test_a_version_that_loads_takes_the_place_of_a_request(base_path, warms_up):
    goes_on, bring = warms_up
    with serving(base_path, workers=2) as client:
        bring(client)
        running = taken_up(client, request("slow", steps=[ENDLESS]), timeout=3)
        # Both are for the version before, one after the other.
        assert client.multiply(3) == (1, 3)
        eventually(running.done)
        assert running.code() == Code.DEADLINE_EXCEEDED
        assert client.states()[2] == State.LOADING
        goes_on.set()
        eventually(lambda: client.states()[2] == State.AVAILABLE)
        # And the place is given back.
        client.predict(request("slow", steps=[1]))
        running = taken_up(client, request("slow", steps=[ENDLESS]), timeout=5)
        assert client.multiply(3) == (2, 6)
        assert not running.done()


def test_one_worker_goes_on_while_a_version_loads(base_path, warms_up):
    goes_on, bring = warms_up
    with serving(base_path, workers=1) as client:
        bring(client)
        assert client.multiply(3) == (1, 3)
        assert client.states()[2] == State.LOADING
        goes_on.set()


def test_of_versions_that_come_meanwhile_only_the_highest_is_loaded(
    base_path, warms_up, toys
):
    goes_on, bring = warms_up
    with serving(base_path) as client:
        bring(client)
        for version in (3, 4, 5):
            bring_in(toys / "3", base_path / str(version))
        assert client.states() == {1: State.AVAILABLE, 2: State.LOADING}
        goes_on.set()
        eventually(lambda: client.multiply(1) == (5, 3))
        time.sleep(0.2)
        # 3 and 4 were never looked at.
        eventually(
            lambda: client.states() == {1: State.END, 2: State.END, 5: State.AVAILABLE}
        )


def test_taking_the_newest_away_goes_back(base_path, toys):
    shutil.copytree(toys / "3", base_path / "3")
    with serving(base_path) as client:
        assert client.multiply(2) == (3, 6)
        (base_path / "3").rename(base_path / "withdrawn")
        eventually(lambda: client.multiply(2) == (1, 2))
        # And nothing at all takes nothing away.
        (base_path / "1").rename(base_path / "gone")
        time.sleep(0.3)
        assert client.multiply(2) == (1, 2)


HALF = [
    ("saved_model.pb", "missing"),
    ("saved_model.pb", "half"),
    ("variables", "missing"),
    ("variables/variables.index", "missing"),
    ("variables/variables.index", "half"),
    ("variables/variables.data-00000-of-00001", "missing"),
    ("variables/variables.data-00000-of-00001", "half"),
    ("assets.extra/tf_serving_warmup_requests", "half"),
]


def test_half_copied_versions_wait_for_the_rest(base_path, toys):
    with serving(base_path) as client:
        for version, (name, damage) in enumerate(HALF, 2):
            shutil.copytree(toys / "3", base_path / "making")
            path = base_path / "making" / name
            if path.is_dir():
                shutil.rmtree(path)
            elif damage == "missing":
                path.unlink()
            else:
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            (base_path / "making").rename(base_path / str(version))
            expected = State.END
            if (name, damage) == ("saved_model.pb", "missing"):
                expected = State.START
            eventually(lambda: client.states().get(version) == expected)  # noqa: B023
            assert client.multiply(2)[0] == 1, name
        # The rest arrives, in the one before the last.
        version = len(HALF)
        shutil.copytree(toys / "3", base_path / str(version), dirs_exist_ok=True)
        eventually(lambda: client.multiply(2) == (version, 6))


def test_a_version_that_fails_its_warm_up_is_not_served(base_path, tmp_path):
    save_toy(tmp_path / "2", factor=2, warm_up=(1, np.nan))
    with serving(base_path) as client:
        (tmp_path / "2").rename(base_path / "2")
        eventually(lambda: client.states().get(2) == State.END)
        message = get_model_status_pb2.GetModelStatusRequest()
        message.model_spec.name = NAME
        message.model_spec.version.value = 2
        (status,) = client.model.GetModelStatus(message).model_version_status
        assert status.status.error_code == Code.INVALID_ARGUMENT.value[0]
        assert "warm-up" in status.status.error_message
        assert "scale must be finite" in status.status.error_message
        assert client.multiply(2) == (1, 2)


def test_a_server_that_starts_beside_a_half_copied_version_serves_the_one_below(
    base_path, toys
):
    (base_path / "2").mkdir()
    shutil.copy(toys / "2" / "saved_model.pb", base_path / "2")
    with serving(base_path) as client:
        assert client.multiply(2) == (1, 2)


# Start and end


def toy_server(base_path, **changes):
    return local_server.LocalServer(
        versions.Versions(NAME, base_path),
        local_server.Settings(host="localhost", **{"port": 0, **changes}),
    )


def test_stopping_lets_the_running_finish(base_path):
    server = toy_server(base_path)
    server.start()
    client = Client(server.port)
    client.server = server
    client.predict(request("slow", steps=[1]))
    running = taken_up(client, request("slow", steps=[500]))
    server.stop()
    assert running.code() == Code.OK


def test_stopping_does_not_wait_for_ever(base_path):
    server = toy_server(base_path, grace_seconds=0.3)
    server.start()
    client = Client(server.port)
    client.server = server
    client.predict(request("slow", steps=[1]))
    running = taken_up(client, request("slow", steps=[ENDLESS]))
    start = time.monotonic()
    server.stop()
    assert running.code() in (Code.CANCELLED, Code.UNAVAILABLE)
    assert time.monotonic() - start < 5


def test_a_taken_port_is_said(base_path, client):
    server = toy_server(base_path)
    with pytest.raises(UserError, match=f"localhost:{server.port}, which is in use"):
        toy_server(base_path, port=server.port)


def test_an_export_that_cannot_be_loaded_is_said(base_path):
    (base_path / "1" / "saved_model.pb").write_bytes(b"broken")
    with pytest.raises(UserError, match="no version that can be loaded .version 1: "):
        toy_server(base_path).start()


def test_tls(base_path, pem):
    cert, key = pem
    with serving(base_path, tls_cert=cert, tls_key=key) as plain:
        assert plain.refusal(request(seed=[1]))[0] == Code.UNAVAILABLE
        credentials = grpc.ssl_channel_credentials(cert.read_bytes())
        assert Client(plain.port, credentials).multiply(3) == (1, 3)


def test_pem_files_of_no_use_are_said(base_path, pem, tmp_path):
    cert, key = pem
    for wrong in (tmp_path / "missing.pem", cert):
        with pytest.raises(UserError, match=re.escape(f"tls_key={wrong} must be")):
            toy_server(base_path, tls_cert=cert, tls_key=wrong)


# The command, in a process of its own


def start(run_dir):
    """A server's process and its client."""
    process = subprocess.Popen(
        [sys.executable, ROOT / "main.py", "serve", f"--run_dir={run_dir}", "--port=0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("Answering at 127.0.0.1:"):
            return process, Client(int(line.rstrip(".\n").rsplit(":", 1)[1])), lines
    raise AssertionError("".join(lines))


@pytest.mark.slow
def test_killed_under_load_it_comes_back_with_the_accepted_version(tmp_path, toys):
    base_path = tmp_path / NAME / "saved_model"
    shutil.copytree(toys / "1", base_path / "1")
    process, client, lines = start(tmp_path / NAME)
    try:
        assert "development and small installations" in lines[0]
        shutil.copytree(toys / "2", base_path / "making")
        (base_path / "making").rename(base_path / "2")
        load = Load(client)
        eventually(lambda: client.multiply(1)[0] == 2)
        # Killed while the next one arrives.
        (base_path / "3").mkdir()
        shutil.copy(toys / "3" / "saved_model.pb", base_path / "3")
        process.kill()
        process.wait(120)
        with pytest.raises(grpc.RpcError):
            load.stop()
        process, client, _ = start(tmp_path / NAME)
        assert client.multiply(1) == (2, 2)
        shutil.copytree(toys / "3", base_path / "3", dirs_exist_ok=True)
        eventually(lambda: client.multiply(1) == (3, 3))
        client.predict(request("slow", steps=[1]))
        running = client.predict_async(request("slow", steps=[500]))
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert running.code() == Code.OK
        assert process.wait(30) == 0
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.wait(120)


# Anything at all


VALID = {
    "": request(seed=[1, 2], scale=[1, 2]),
    "invert": request("invert", image=np.ones((1, 3, 4, 3))),
    "invert_png": request(
        "invert_png", image_bytes=[tf.io.encode_png(np.ones((3, 4, 3), "u1")).numpy()]
    ),
    "slow": request("slow", steps=[1]),
}
# What a dtype's values are called in a TensorProto.
FIELDS = {
    tf.int64.as_datatype_enum: "int64_val",
    tf.float32.as_datatype_enum: "float_val",
    tf.uint8.as_datatype_enum: "int_val",
    tf.int32.as_datatype_enum: "int_val",
    tf.string.as_datatype_enum: "string_val",
}


def first(message):
    """An input that every signature requires."""
    name = sorted(set(message.inputs) - {"scale"})[0]
    return message.inputs[name]


def reshape(proto, sides):
    proto.tensor_shape.Clear()
    for side in sides:
        proto.tensor_shape.dim.add(size=side)


def spoil_model(message, draw):
    message.model_spec.name = draw(st.sampled_from(["x", "toy ", "../toy", "TOY"]))


def spoil_version(message, draw):
    message.model_spec.version.value = draw(
        st.integers(-(2**63), 2**63 - 1).filter(lambda version: version != 1)
    )


def spoil_label(message, draw):
    message.model_spec.version_label = draw(st.text(max_size=50))


def spoil_signature(message, draw):
    message.model_spec.signature_name = "no " + draw(st.text(max_size=50))


def spoil_by_leaving_out(message, draw):
    for name in set(message.inputs) - {"scale"}:
        del message.inputs[name]


def spoil_by_an_extra(message, draw):
    message.inputs["extra " + draw(st.text(max_size=50))].CopyFrom(first(message))


def spoil_dtype(message, draw):
    proto = first(message)
    proto.dtype = draw(st.integers(0, 200).filter(lambda number: number != proto.dtype))


def spoil_rank(message, draw):
    proto = first(message)
    rank = len(proto.tensor_shape.dim)
    rank = draw(st.integers(0, 8).filter(lambda number: number != rank))
    reshape(proto, [1] * rank)


def spoil_by_unknown_rank(message, draw):
    first(message).tensor_shape.unknown_rank = True


def spoil_by_a_negative_side(message, draw):
    draw(st.sampled_from(first(message).tensor_shape.dim)).size = draw(
        st.integers(-(2**63), -1)
    )


def spoil_by_huge_sides(message, draw):
    proto = first(message)
    sides = [draw(st.integers(2**30, 2**63 - 1)) for _ in proto.tensor_shape.dim]
    if len(sides) == 4:
        sides[3] = 3
    reshape(proto, sides)


def spoil_content(message, draw):
    proto = first(message)
    # Strings have none; and of 8 bytes each, none of these fits.
    size = draw(st.integers(0, 100).filter(lambda n: n % 4)) if proto.dtype != 7 else 9
    proto.tensor_content = b"x" * (size + 400 * (proto.dtype == tf.uint8))


def spoil_by_too_many_values(message, draw):
    proto = first(message)
    field = FIELDS[proto.dtype]
    proto.tensor_content = b""
    value = b"x" if field == "string_val" else 1
    getattr(proto, field).extend([value] * draw(st.integers(40, 200)))


def spoil_output(message, draw):
    message.output_filter.append("no " + draw(st.text(max_size=50)))


def spoil_by_a_double_output(message, draw):
    name = {"": "seed", "invert": "image", "slow": "trace"}.get(
        message.model_spec.signature_name, "image_bytes"
    )
    message.output_filter.extend([name, name])


def spoil_spec(message, draw):
    message.ClearField("model_spec")


SPOILERS = {
    spoil_model: Code.NOT_FOUND,
    spoil_version: Code.NOT_FOUND,
    spoil_label: Code.INVALID_ARGUMENT,
    spoil_signature: Code.FAILED_PRECONDITION,
    spoil_by_leaving_out: Code.INVALID_ARGUMENT,
    spoil_by_an_extra: Code.INVALID_ARGUMENT,
    spoil_dtype: Code.INVALID_ARGUMENT,
    spoil_rank: Code.INVALID_ARGUMENT,
    spoil_by_unknown_rank: Code.INVALID_ARGUMENT,
    spoil_by_a_negative_side: Code.INVALID_ARGUMENT,
    spoil_by_huge_sides: Code.INVALID_ARGUMENT,
    spoil_content: Code.INVALID_ARGUMENT,
    spoil_by_too_many_values: Code.INVALID_ARGUMENT,
    spoil_output: Code.INVALID_ARGUMENT,
    spoil_by_a_double_output: Code.INVALID_ARGUMENT,
    spoil_spec: Code.INVALID_ARGUMENT,
}


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_spoiled_requests_meet_the_right_code(client, data):
    message = predict_pb2.PredictRequest()
    message.CopyFrom(VALID[data.draw(st.sampled_from(sorted(VALID)))])
    spoil = data.draw(st.sampled_from(list(SPOILERS)))
    spoil(message, data.draw)
    assert client.refusal(message)[0] == SPOILERS[spoil]


ANY_BYTES = st.binary(max_size=40)


@st.composite
def any_tensor(draw):
    """A TensorProto of fields that need not fit each other."""
    proto = tf.make_tensor_proto(0)
    proto.Clear()
    proto.dtype = draw(st.sampled_from([*FIELDS, 0, 1, 99, 1000]))
    sides = st.integers(-2, 5) | st.sampled_from([2**31, 2**62, 10**6])
    reshape(proto, draw(st.lists(sides, max_size=5)))
    proto.tensor_content = draw(ANY_BYTES)
    small, wide = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
    floats = st.floats(width=32)
    for field, strategy in (
        ("int_val", small),
        ("int64_val", wide),
        ("float_val", floats),
        ("string_val", ANY_BYTES),
    ):
        getattr(proto, field).extend(draw(st.lists(strategy, max_size=4)))
    return proto


@st.composite
def any_request(draw):
    message = predict_pb2.PredictRequest()
    message.CopyFrom(VALID[draw(st.sampled_from(["", "invert", "invert_png"]))])
    names = [*message.inputs, *draw(st.lists(st.just("more"), max_size=1))]
    for name in names:
        if draw(st.booleans()):
            message.inputs[name].CopyFrom(draw(any_tensor()))
    return message


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(message=any_request())
def test_no_request_confuses_the_server(client, message):
    try:
        client.predict(message)
    except grpc.RpcError as error:
        assert error.code() in (Code.INVALID_ARGUMENT, Code.RESOURCE_EXHAUSTED)
        assert "\n" not in error.details()
    assert client.multiply(5) == (1, 5)


# The signatures of an export


DTYPES = {
    "seed": np.int64,
    "start_scale": np.int32,
    "height": np.int32,
    "width": np.int32,
    "injection_scale": np.int32,
    "noise_scale": np.float32,
    "factor": np.float32,
    "image": np.uint8,
    "mask": np.uint8,
}


def call(signature, **inputs):
    message = request(signature)
    for name, value in inputs.items():
        array = np.asarray(value, DTYPES.get(name, object))
        message.inputs[name].CopyFrom(tf.make_tensor_proto(array))
    return message


def png(height, width, rows=None):
    """A grey PNG file; one with fewer rows than it says is a bomb or broken."""

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes((1 + width) * (height if rows is None else rows)))
    parts = (b"IHDR", head), (b"IDAT", pixels), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


GREY = np.full((1, 40, 50, 3), 128, np.uint8)


@pytest.mark.parametrize(
    ("message", "part"),
    [
        (call("sample", seed=[]), "seed"),
        (call("sample", seed=[1] * 9), "seed"),
        (call("sample", seed=[1, 2, 3], height=[40, 40]), "row"),
        (call("sample", seed=[1, 2], height=[40, 41]), "height"),
        (call("sample", seed=[1], height=[100_000], width=[100_000]), "height"),
        (call("sample", seed=[1], height=[0]), "height"),
        (call("sample", seed=[1], width=[-1]), "width"),
        (call("sample", seed=[1], start_scale=[99]), "start_scale"),
        (call("sample", seed=[1], noise_scale=[np.nan]), "noise_scale"),
        (call("sample", seed=[1], noise_scale=[np.inf]), "noise_scale"),
        (call("sample_png", seed=[1], height=[100_000]), "height"),
        (call("super_resolve", image=GREY, factor=[np.nan]), "factor"),
        (call("super_resolve", image=GREY, factor=[16]), "factor"),
        (call("super_resolve", image=GREY[:, :0]), "image"),
        (call("super_resolve", image=GREY[:0]), "image"),
        (call("super_resolve_png", image_bytes=[b""]), "image_bytes"),
        (call("super_resolve_png", image_bytes=[b"GIF89a"]), "image_bytes"),
        (call("super_resolve_png", image_bytes=[png(40, 50)[:60]]), "PNG"),
        (call("super_resolve_png", image_bytes=[png(40, 50, rows=3)]), "PNG"),
        (
            call("super_resolve_png", image_bytes=[png(50_000, 50_000, rows=1)]),
            "image_bytes",
        ),
        (call("edit", image=GREY, injection_scale=[0]), "injection_scale"),
        (
            call("edit", image=GREY, injection_scale=[1], mask=GREY[:, 1:, :, :1]),
            "mask",
        ),
        (
            call(
                "edit_png",
                image_bytes=[png(40, 50)],
                injection_scale=[1],
                mask_bytes=[png(50_000, 50_000, rows=1)],
            ),
            "mask_bytes",
        ),
        (call("reconstruct"), "seed"),
    ],
)
def test_bad_values_are_refused_with_the_input_s_name(served_export, message, part):
    before = resident_bytes()
    code, details = served_export.refusal(message)
    assert code == Code.INVALID_ARGUMENT
    assert part in details
    assert resident_bytes() < before + (64 << 20)


EDGES = st.sampled_from([-(2**31), -1, 0, 1, 2, 3, 30, 47, 300, 10**5, 2**31 - 1])
FLOATS = st.floats(width=32) | st.sampled_from([0.0, 1.0, 2.0, np.nan, -1.0, np.inf])


def vectors(elements):
    return st.lists(elements, max_size=3)


@st.composite
def images(draw, channels):
    shape = [draw(st.integers(0, 2))]
    shape += [draw(st.sampled_from([0, 1, 29, 40, 60, 400])) for _ in range(2)]
    return np.full([*shape, channels], draw(st.integers(0, 255)), np.uint8)


PNGS = st.builds(
    png,
    st.sampled_from([1, 30, 40, 400, 2**31 - 1]),
    st.sampled_from([1, 30, 50, 60_000]),
    st.integers(0, 50),
)
FILES = vectors(PNGS | ANY_BYTES | st.just(png(40, 50)))
INPUTS = {
    "seed": vectors(st.integers(-(2**63), 2**63 - 1)),
    **dict.fromkeys(
        ("start_scale", "height", "width", "injection_scale"), vectors(EDGES)
    ),
    **dict.fromkeys(("noise_scale", "factor"), vectors(FLOATS)),
    "image": images(3),
    "mask": images(1),
    **dict.fromkeys(("image_bytes", "mask_bytes"), FILES),
}


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_values_confuse_the_model(served_export, exported, data):
    described = json.loads((exported / "signatures.json").read_text())["signatures"]
    name = data.draw(st.sampled_from(sorted(described)))
    message = request(name)
    for key, about in described[name]["inputs"].items():
        if about["default"] is None or data.draw(st.booleans()):
            values = data.draw(INPUTS[key])
            message.inputs[key].CopyFrom(call(name, **{key: values}).inputs[key])
    try:
        served_export.predict(message)
    except grpc.RpcError as error:
        assert error.code() == Code.INVALID_ARGUMENT
        assert "\n" not in error.details()


# Rows that are computed alone


@pytest.fixture(scope="module")
def by_rows(exported):
    """The export, loaded."""
    loaded = Servable(exported, NAME, 1)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def whole(exported, tmp_path_factory):
    """The same, as one from before its rows were told of: requests run whole."""
    folder = tmp_path_factory.mktemp("whole") / "1"
    shutil.copytree(exported, folder)
    (folder / "signatures.json").unlink()
    loaded = Servable(folder, NAME, 1)
    yield loaded
    loaded.close()


PHOTOGRAPHS = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), np.uint8)
PNGS_OF_SIZES = [png(40, 50), png(44, 52), png(60, 48)]
ROWS = [
    call("sample", seed=[1, -2, 3], start_scale=[0, 1, 2], noise_scale=[1, 0.5, 2]),
    call("serving_default", seed=[5], start_scale=[0, 1, 2], height=[40], width=[70]),
    call("sample_png", seed=[1, 2, 3], height=[40, 44, 60], width=[60, 50, 48]),
    call("super_resolve", image=PHOTOGRAPHS, factor=[1.5], seed=[7, 8, 9]),
    call("super_resolve_png", image_bytes=PNGS_OF_SIZES, factor=[1, 1.5, 1.2]),
    call(
        "edit",
        image=PHOTOGRAPHS[:1],
        mask=PHOTOGRAPHS[..., :1],
        injection_scale=[1],
        seed=[1, 2, 3],
    ),
    call(
        "edit_png",
        image_bytes=PNGS_OF_SIZES,
        mask_bytes=[b"", png(44, 52), b""],
        injection_scale=[2, 1, 1],
    ),
    call("reconstruct", seed=[1, 2, 3]),
    call("reconstruct_png", seed=[1, 2, 3]),
]


class Asked:
    """Says so often that somebody waits; then nobody does."""

    def __init__(self, times):
        self.times = times

    def __call__(self):
        self.times -= 1
        return self.times >= 0


@pytest.mark.slow
@pytest.mark.parametrize("message", ROWS, ids=lambda m: m.model_spec.signature_name)
def test_rows_alone_are_those_of_the_whole_request(by_rows, whole, message):
    asked = Asked(99)
    answer = by_rows.predict(message, is_awaited=asked)
    assert answer == whole.predict(message)
    # Before each of three rows, which reconstruct has not, and before the answer.
    name = message.model_spec.signature_name
    assert 99 - asked.times == (1 if name.startswith("reconstruct") else 4)


@pytest.mark.slow
def test_rows_too_large_for_an_answer_are_left_to_the_model(by_rows, monkeypatch):
    assert servable._MAX_ANSWER_BYTES == rows.MAX_ANSWER_BYTES
    expected = by_rows.predict(ROWS[0])
    monkeypatch.setattr(servable, "_MAX_ANSWER_BYTES", 1)
    asked = Asked(99)
    assert by_rows.predict(ROWS[0], is_awaited=asked) == expected
    # Before the first row, and before the answer to all.
    assert 99 - asked.times == 2


@pytest.mark.slow
def test_nothing_more_is_computed_when_nobody_waits(by_rows, whole):
    message = ROWS[0]
    for model, times in ((by_rows, 0), (by_rows, 2), (by_rows, 3), (whole, 0)):
        asked = Asked(times)
        with pytest.raises(Refused) as refused:
            model.predict(message, is_awaited=asked)
        assert refused.value.code == Code.CANCELLED
        assert asked.times == -1


TINY, BROKEN = png(3, 3), png(40, 50, rows=3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "message",
    [
        call("sample", seed=[1] * 9),
        call("sample", seed=[1, 2, 3], height=[40, 40]),
        call("sample", seed=[1, 2], height=[40, 41]),
        call("sample", seed=[1, 2], start_scale=[0, 99]),
        call("sample", seed=[1, 2, 3], noise_scale=[1, 1, np.nan]),
        call("sample_png", seed=[1, 2], height=[40, 0]),
        call("super_resolve", image=PHOTOGRAPHS[:2], factor=[1.5, 1.501]),
        call("super_resolve", image=PHOTOGRAPHS[:, :3], factor=[2]),
        call("super_resolve_png", image_bytes=[png(40, 50), TINY]),
        call("super_resolve_png", image_bytes=[png(40, 50), BROKEN], factor=[1]),
        call("super_resolve_png", image_bytes=[png(40, 50)] * 2, factor=[1, 17]),
        call(
            "edit_png",
            image_bytes=[png(40, 50)] * 2,
            mask_bytes=[b"", png(40, 51)],
            injection_scale=[1],
        ),
    ],
)
def test_what_is_wrong_with_a_row_is_told_as_of_the_whole_request(
    by_rows, whole, message
):
    told = []
    for model in (by_rows, whole):
        with pytest.raises(Refused) as refused:
            model.predict(message)
        told.append((refused.value.code, str(refused.value)))
    assert told[0] == told[1]
    assert told[0][0] == Code.INVALID_ARGUMENT


SLOW = call("sample", seed=range(8), height=[256], width=[256])
QUICK = call("sample", seed=[1], height=[40], width=[50])


# Of times that the machine may stretch, and that show a fault by never being short, the
# least of so many counts.
TRIES = 3


@pytest.fixture
def one_worker(exported, tmp_path):
    """A function that starts a server of the export with one worker.

    It gives the server, a client, and the seconds that SLOW takes.
    """
    # Without the warm-up of the other signatures.
    ignore = shutil.ignore_patterns("assets.extra")
    shutil.copytree(exported, tmp_path / "1", ignore=ignore)
    with contextlib.ExitStack() as stack:

        def start():
            server = toy_server(tmp_path, workers=1)
            server.start()
            stack.callback(server.stop)
            client = Client(server.port)
            client.predict(SLOW)
            began = time.monotonic()
            client.predict(SLOW)
            return server, client, time.monotonic() - began

        yield start


def cancel(client, seconds):
    running = client.predict_async(SLOW)
    time.sleep(seconds)
    running.cancel()


CALLER = """
import sys, time, grpc
channel = grpc.insecure_channel(sys.argv[1])
call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
call.future(bytes.fromhex(sys.stdin.read()))
print("sent", flush=True)
time.sleep(60)
"""


def die(client, seconds):
    """A client's process is killed while its call runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", CALLER, f"localhost:{client.port}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.stdin.write(SLOW.SerializeToString().hex())
    process.stdin.close()
    assert process.stdout.readline() == "sent\n"
    time.sleep(seconds)
    process.kill()
    process.wait(120)


@pytest.mark.parametrize("leave", [cancel, die])
def test_a_call_that_nobody_waits_for_stops_at_the_next_row(one_worker, leave):
    _, client, seconds = one_worker()
    taken = []
    for _ in range(TRIES):
        leave(client, seconds / 16)
        start = time.monotonic()
        client.predict(QUICK)
        taken.append(time.monotonic() - start)
    # Of eight rows it has computed one, or two.
    assert min(taken) < seconds * 0.6


@pytest.mark.slow
def test_stopping_does_not_wait_for_a_call_that_nobody_waits_for(one_worker):
    shares = []
    for _ in range(TRIES):
        server, client, seconds = one_worker()
        cancel(client, seconds / 16)
        start = time.monotonic()
        server.stop()
        shares.append((time.monotonic() - start) / seconds)
    assert min(shares) < 0.6


def test_the_deadline_holds_over_all_rows(one_worker):
    _, client, seconds = one_worker()
    taken = []
    for _ in range(TRIES):
        start = time.monotonic()
        code, _ = client.refusal(SLOW, timeout=seconds / 2)
        assert code == Code.DEADLINE_EXCEEDED
        client.predict(QUICK)
        taken.append(time.monotonic() - start)
    assert min(taken) < seconds * 0.9


def test_a_sample_by_grpc_is_that_of_the_command(
    served_export, finished, capsys, tmp_path
):
    output_dir = tmp_path / "samples"
    arguments = ["--num_samples=2", "--seed=6", "--height=40", "--width=50"]
    status, _, error = run(
        capsys,
        "sample",
        f"--run_dir={finished}",
        f"--output_dir={output_dir}",
        *arguments,
    )
    assert status == 0, error
    message = call("sample", seed=[6, 7], height=[40], width=[50])
    for seed, image in zip((6, 7), values(served_export.predict(message), "image")):
        expected = Image.open(output_dir / f"seed_{seed:06d}.png")
        np.testing.assert_array_equal(image, np.asarray(expected))
