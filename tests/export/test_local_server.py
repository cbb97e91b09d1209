"""The local server as TensorFlow Serving answers: calls, limits, start and end."""

import re
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from serving_helpers import (
    ENDLESS,
    NAME,
    Client,
    State,
    eventually,
    make_server,
    request,
    resident_bytes,
    serving,
    taken_up,
    values,
)
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    regression_pb2,
)

from singan_tf.errors import UserError

Code = grpc.StatusCode


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


# Start and end


def test_stopping_lets_the_running_finish(base_path):
    with serving(base_path, grace_seconds=60) as client:
        client.predict(request("slow", steps=[1]))
        running = taken_up(client, request("slow", steps=[500]))
        client.server.stop()
        assert running.code() == Code.OK


def test_stopping_does_not_wait_for_ever(base_path):
    with serving(base_path, grace_seconds=0.3) as client:
        client.predict(request("slow", steps=[1]))
        running = taken_up(client, request("slow", steps=[ENDLESS]))
        start = time.monotonic()
        client.server.stop()
        assert running.code() in (Code.CANCELLED, Code.UNAVAILABLE)
        assert time.monotonic() - start < 5


def test_a_taken_port_is_said(base_path, client):
    server = make_server(base_path)
    with pytest.raises(UserError, match=f"localhost:{server.port}, which is in use"):
        make_server(base_path, port=server.port)


def test_an_export_that_cannot_be_loaded_is_said(base_path):
    (base_path / "1" / "saved_model.pb").write_bytes(b"broken")
    with pytest.raises(UserError, match="no version that can be loaded .version 1: "):
        make_server(base_path).start()


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
            make_server(base_path, tls_cert=cert, tls_key=wrong)
