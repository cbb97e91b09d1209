"""The client against gRPC servers on this machine."""

import ast
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from concurrent import futures

import absl.flags
import grpc
import numpy as np
import pytest
import tensorflow as tf
from helpers import ROOT, pixels, png, sentence
from PIL import Image, PngImagePlugin
from profiles import (
    DISPLAY_P3,
    SRGB,
    cmyk_profile,
    grey_profile,
    linear_to_srgb,
    rgb_profile,
    srgb_to_linear,
)
from serving_helpers import NAME
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

import export.client
from export import client_commands, masks
from export.client import NoServer, SinGANClient
from singan_tf import images

OPTIONS = [("grpc.max_receive_message_length", 2**28)]
IMAGES = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


class Scripted(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Keeps requests; answers with codes, then with IMAGES."""

    def __init__(self, *codes, delay=0.0, answer=None):
        self.codes, self.delay = list(codes), delay
        self.answer = tf.make_tensor_proto(IMAGES) if answer is None else answer
        self.requests = []

    def Predict(self, request, context):  # noqa: N802
        self.requests.append(request)
        time.sleep(self.delay)
        if self.codes:
            context.abort(self.codes.pop(0), "as scripted")
        response = predict_pb2.PredictResponse()
        for name in request.output_filter:
            response.outputs[name].CopyFrom(self.answer)
        return response


class Statuses(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, *states):
        """Of version, state and error message."""
        self.states = states

    def GetModelStatus(self, request, context):  # noqa: N802
        response = get_model_status_pb2.GetModelStatusResponse()
        for version, state, error in self.states:
            found = response.model_version_status.add(version=version, state=state)
            found.status.error_message = error
        return response


@contextlib.contextmanager
def serving(*servicers, port=0, pem=None):
    # Only a port that the test holds is shared.
    options = [*OPTIONS, ("grpc.so_reuseport", int(port != 0))]
    server = grpc.server(futures.ThreadPoolExecutor(4), options=options)
    for servicer in servicers:
        if isinstance(servicer, Statuses):
            model_service_pb2_grpc.add_ModelServiceServicer_to_server(servicer, server)
        else:
            add = prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server
            add(servicer, server)
    if pem:
        credentials = grpc.ssl_server_credentials([pem])
        target = f"localhost:{server.add_secure_port('localhost:0', credentials)}"
    else:
        target = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    server.start()
    try:
        yield target
    finally:
        server.stop(None).wait()


def sent(scripted):
    """The inputs of the one request, as arrays."""
    (request,) = scripted.requests
    return {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}


def command(capsys, *arguments):
    """Runs a command in this process: status, standard output, standard error."""
    status = client_commands.main(["client", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


# What is sent.


def test_every_input_is_sent_with_one_row_for_each_seed():
    scripted = Scripted()
    with serving(scripted) as target, SinGANClient(target, "coffee") as client:
        images = client.sample([5, -6], [0, 1], 9, 11, 0.5)
    inputs = sent(scripted)
    expected = {
        "seed": np.int64([5, -6]),
        "start_scale": np.int32([0, 1]),
        "height": np.int32([9, 9]),
        "width": np.int32([11, 11]),
        "noise_scale": np.float32([0.5, 0.5]),
    }
    assert set(inputs) == set(expected)
    for name, value in expected.items():
        assert inputs[name].dtype == value.dtype
        np.testing.assert_array_equal(inputs[name], value)
    assert scripted.requests[0].model_spec.name == "coffee"
    assert scripted.requests[0].model_spec.signature_name == "sample"
    assert not scripted.requests[0].model_spec.HasField("version_choice")
    np.testing.assert_array_equal(images, IMAGES)
    images[0] = 0  # The caller's own.


def test_a_size_that_is_left_out_is_not_sent():
    scripted = Scripted()
    with serving(scripted) as target, SinGANClient(target) as client:
        client.sample(7)
    assert set(sent(scripted)) == {"seed", "start_scale", "noise_scale"}


def test_super_resolve_sends_every_input():
    scripted = Scripted()
    with serving(scripted) as target, SinGANClient(target) as client:
        client.super_resolve(list(IMAGES), factor=2, seeds=[1, 2])
    inputs = sent(scripted)
    assert set(inputs) == {"image", "factor", "seed"}
    np.testing.assert_array_equal(inputs["image"], IMAGES)
    np.testing.assert_array_equal(inputs["factor"], np.float32([2, 2]))
    np.testing.assert_array_equal(inputs["seed"], [1, 2])


def test_edit_sends_a_full_mask_where_none_is_given():
    scripted = Scripted()
    with serving(scripted) as target, SinGANClient(target) as client:
        client.edit(IMAGES, 2)
    inputs = sent(scripted)
    assert set(inputs) == {"image", "injection_scale", "mask", "seed"}
    assert inputs["mask"].shape == (2, 3, 4, 1) and inputs["mask"].min() == 255
    np.testing.assert_array_equal(inputs["injection_scale"], [2, 2])


def test_png_files_go_and_come_as_bytes():
    files = [b"\x89PNG one\0", b"\x89PNG two\0\0"]
    answer = tf.make_tensor_proto(files)
    scripted = Scripted(answer=answer)
    with serving(scripted) as target, SinGANClient(target) as client:
        assert client.edit(files, 1, seeds=3, png=True) == files
    assert scripted.requests[0].model_spec.signature_name == "edit_png"
    assert sent(scripted)["image_bytes"].tolist() == files
    assert sent(scripted)["mask_bytes"].tolist() == [b"", b""]


def test_answers_in_the_other_encoding_are_read():
    """TensorFlow Serving puts numbers into lists, not into one string of bytes."""
    answer = tf.make_tensor_proto(IMAGES)
    answer.tensor_content = b""
    answer.int_val.extend(IMAGES.ravel().tolist())
    with serving(Scripted(answer=answer)) as target, SinGANClient(target) as client:
        np.testing.assert_array_equal(client.reconstruct(2), IMAGES)


@pytest.mark.parametrize(
    "choice, field, value",
    [({"version": 3}, "version", 3), ({"label": "canary"}, "version_label", "canary")],
)
def test_a_version_is_chosen_by_number_or_label(choice, field, value):
    scripted = Scripted()
    with serving(scripted) as target, SinGANClient(target, **choice) as client:
        client.sample(1)
    spec = scripted.requests[0].model_spec
    assert spec.WhichOneof("version_choice") == field
    assert getattr(getattr(spec, field), "value", spec.version_label) == value


def test_every_64_bit_seed_is_sent_by_the_command(capsys, tmp_path):
    seeds = [-(2**63), 2**63 - 1]
    scripted = Scripted(answer=tf.make_tensor_proto([png(IMAGES[0])]))
    with serving(scripted) as target:
        arguments = [f"--target={target}", f"--output_dir={tmp_path / 'out'}"]
        arguments.append(f"--seeds={','.join(map(str, seeds))}")
        status, _, error = command(capsys, "sample", *arguments)
    assert (status, error) == (0, "")
    sent_seeds = [tf.make_ndarray(each.inputs["seed"]) for each in scripted.requests]
    np.testing.assert_array_equal(np.concatenate(sent_seeds), seeds)


# What is refused before it is sent.


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda c: c.sample([]), "seeds"),
        (lambda c: c.sample([[1]]), "seeds"),
        (lambda c: c.sample([1.5]), "seeds"),
        (lambda c: c.sample([True]), "seeds"),
        (lambda c: c.sample(2**63), "seeds"),
        (lambda c: c.sample(1, start_scale=-1), "start_scale"),
        (lambda c: c.sample([1, 2], start_scale=[0, 1, 2]), "start_scale"),
        (lambda c: c.sample(1, height=0), "height"),
        (lambda c: c.sample(1, width=2**31), "width"),
        (lambda c: c.sample(1, noise_scale=float("nan")), "noise_scale"),
        (lambda c: c.sample(1, noise_scale="loud"), "noise_scale"),
        (lambda c: c.super_resolve([]), "images"),
        (lambda c: c.super_resolve(IMAGES / 255), "uint8"),
        (lambda c: c.super_resolve(IMAGES[0]), "[B, H, W, C]"),
        (lambda c: c.super_resolve(IMAGES[..., :2]), "channels"),
        (lambda c: c.super_resolve([IMAGES[0], IMAGES[0, :2]]), "one size"),
        (lambda c: c.super_resolve([b"png"]), "png=True"),
        (lambda c: c.super_resolve(IMAGES, png=True), "bytes"),
        (lambda c: c.super_resolve(b"png", png=True), "bytes"),
        (lambda c: c.super_resolve(IMAGES, factor=17), "from 1 to 16"),
        (lambda c: c.super_resolve(IMAGES, seeds=[1, 2, 3]), "seeds"),
        (lambda c: c.edit(IMAGES, 0), "injection_scale"),
        (lambda c: c.edit(IMAGES, 1, masks=IMAGES[..., :1][:1]), "masks"),
        (lambda c: c.edit(IMAGES, 1, masks=IMAGES), "masks"),
        (lambda c: c.edit([b"png"], 1, masks=IMAGES[:1], png=True), "masks"),
        (lambda c: c.reconstruct(0), "count"),
        (lambda c: c.reconstruct(1.5), "count"),
    ],
)
def test_arguments_are_checked_before_anything_is_sent(call, said):
    # Nothing listens there.
    with SinGANClient("127.0.0.1:1", deadline=1) as client:
        with pytest.raises(ValueError, match=re_escape(said)):
            call(client)


def re_escape(text):
    return text.replace("[", r"\[").replace("]", r"\]")


@pytest.mark.parametrize(
    "arguments",
    [
        {"model": ""},
        {"version": 1, "label": "stable"},
        {"version": -1},
        {"deadline": 0},
        {"deadline": float("inf")},
        {"max_message_bytes": 0},
        {"max_message_bytes": 2**31},
    ],
)
def test_a_client_refuses_settings_that_cannot_work(arguments):
    with pytest.raises(ValueError):
        SinGANClient("127.0.0.1:1", **arguments)


# Retries, deadlines, limits, encryption.


def test_it_asks_again_when_the_server_is_unavailable():
    scripted = Scripted(UNAVAILABLE, UNAVAILABLE)
    with serving(scripted) as target, SinGANClient(target) as client:
        np.testing.assert_array_equal(client.sample([1, 2]), IMAGES)
    assert len(scripted.requests) == 3


def test_it_asks_again_with_a_large_request():
    """gRPC's own buffer for what may have to be sent again holds 256 KiB."""
    scripted = Scripted(UNAVAILABLE, UNAVAILABLE)
    image = np.zeros([1, 600, 600, 3], np.uint8)
    with serving(scripted) as target, SinGANClient(target) as client:
        client.super_resolve(image)
    assert len(scripted.requests) == 3
    assert scripted.requests[2].ByteSize() > image.size


def test_it_asks_an_unavailable_server_until_the_deadline():
    scripted = Scripted(*[UNAVAILABLE] * 99)
    with serving(scripted) as target, SinGANClient(target, deadline=4) as client:
        start = time.monotonic()
        with pytest.raises(NoServer) as refused:
            client.sample(1)
        waited = time.monotonic() - start
    assert refused.value.code() == UNAVAILABLE
    assert refused.value.details() == "No server was ready within 4 s (as scripted)"
    assert 4 <= waited < 6
    # After pauses of about 0, 0.2, 0.4, 0.8 and 1.6 seconds, and at the end perhaps.
    assert 4 <= len(scripted.requests) <= 8


def test_a_port_that_accepts_connections_and_says_nothing_is_no_server(monkeypatch):
    monkeypatch.setattr(export.client, "_PATIENCE", 0.2)
    told = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        target = f"127.0.0.1:{listening.getsockname()[1]}"
        with SinGANClient(target, deadline=1, on_wait=lambda *a: told.append(a)) as c:
            with pytest.raises(NoServer, match="within 1 s"):
                c.sample(1)
    ((seconds, _),) = told
    assert 0.2 < seconds < 0.9


NOT_FOUND = grpc.StatusCode.NOT_FOUND
STATES = get_model_status_pb2.ModelVersionStatus.State


@pytest.mark.parametrize("state", [STATES.START, STATES.LOADING])
def test_a_model_that_is_being_loaded_is_waited_for(state):
    scripted = Scripted(NOT_FOUND, NOT_FOUND)
    loading = Statuses((1, state, ""))
    with serving(scripted, loading) as target, SinGANClient(target) as client:
        np.testing.assert_array_equal(client.sample([1, 2]), IMAGES)
    assert len(scripted.requests) == 3
    scripted = Scripted(*[NOT_FOUND] * 99)
    with serving(scripted, loading) as target:
        with SinGANClient(target, deadline=0.5) as client:
            with pytest.raises(NoServer, match="singan is still being loaded"):
                client.sample(1)


@pytest.mark.parametrize("state", [STATES.AVAILABLE, STATES.UNLOADING, STATES.END])
def test_a_model_that_will_not_come_is_not_waited_for(state):
    scripted = Scripted(NOT_FOUND)
    with serving(scripted, Statuses((1, state, ""))) as target:
        with SinGANClient(target) as client, pytest.raises(grpc.RpcError) as refused:
            client.sample(1)
    assert refused.value.code() == NOT_FOUND
    assert len(scripted.requests) == 1


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.NOT_FOUND,
    ],
)
def test_it_does_not_ask_again_after_another_code(code):
    scripted = Scripted(code, code)
    with serving(scripted) as target, SinGANClient(target) as client:
        with pytest.raises(grpc.RpcError) as refused:
            client.sample(1)
    assert refused.value.code() == code
    assert refused.value.details() == "as scripted"
    assert len(scripted.requests) == 1


def test_the_deadline_ends_a_call_and_is_not_tried_again():
    scripted = Scripted(delay=1.5)
    with serving(scripted) as target, SinGANClient(target, deadline=0.3) as client:
        with pytest.raises(grpc.RpcError) as refused:
            client.sample(1)
    assert refused.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert not isinstance(refused.value, NoServer)
    assert len(scripted.requests) == 1


@pytest.mark.slow
def test_a_server_that_starts_late_is_waited_for():
    # Held until then, so that no other process listens there: a socket that is bound
    # and does not listen refuses.
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind(("127.0.0.1", 0))
    port = held.getsockname()[1]
    target = f"127.0.0.1:{port}"
    told = []
    with futures.ThreadPoolExecutor(2) as pool:
        with SinGANClient(target, on_wait=lambda *a: told.append(a)) as client:
            sample, status = pool.submit(client.sample, [1]), pool.submit(client.status)
            # gRPC's own five attempts end before.
            time.sleep(7)
            statuses = Statuses((1, STATES.AVAILABLE, ""))
            with serving(Scripted(), statuses, port=port):
                np.testing.assert_array_equal(sample.result(30), IMAGES)
                assert status.result(30) == {1: "AVAILABLE"}
    held.close()
    assert len(told) == 2
    for seconds, reason in told:
        assert 50 < seconds <= 57 and "refused" in reason


def test_messages_may_be_larger_than_grpc_allows_by_default():
    large = np.zeros([1, 1300, 1300, 3], np.uint8)
    scripted = Scripted(answer=tf.make_tensor_proto(large))
    with serving(scripted) as target:
        with SinGANClient(target) as client:
            assert client.super_resolve(large).shape == large.shape
        with SinGANClient(target, max_message_bytes=2**22) as client:
            with pytest.raises(grpc.RpcError) as refused:
                client.sample(1)
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_several_addresses_are_used_in_turn():
    one, two = Scripted(), Scripted()
    with serving(one) as first, serving(two) as second:
        with SinGANClient(f"ipv4:{first},{second}") as client:
            deadline = time.monotonic() + 120
            while not (one.requests and two.requests):
                assert time.monotonic() < deadline
                client.sample(1)


def test_a_closed_client_sends_nothing_more():
    with serving(Scripted()) as target:
        with SinGANClient(target) as client:
            client.sample(1)
        with pytest.raises(ValueError, match="closed"):
            client.sample(1)


def test_tls_checks_the_server_against_the_certificates(pem, capsys, monkeypatch):
    monkeypatch.setattr(export.client, "_PATIENCE", 0.4)
    cert, key = (path.read_bytes() for path in pem)
    available = get_model_status_pb2.ModelVersionStatus.State.AVAILABLE
    statuses = Statuses((1, available, ""))
    with serving(statuses, pem=(key, cert)) as target:
        with SinGANClient(target, root_certificates=cert) as client:
            assert client.status() == {1: "AVAILABLE"}
        # Signed by nobody that the system trusts; and no encryption at all.
        for arguments in ({"tls": True}, {}):
            with SinGANClient(target, deadline=1, **arguments) as client:
                with pytest.raises(NoServer):
                    client.status()
        start = time.monotonic()
        status, _, error = command(capsys, "status", f"--target={target}", "--tls")
        assert status == 1 and "--root_certificates" in error.splitlines()[-1]
        # Nothing would come of waiting for the whole deadline.
        assert time.monotonic() - start < 20
        flags = [f"--target={target}", f"--root_certificates={pem[0]}"]
        status, out, _ = command(capsys, "status", *flags)
    assert (status, out) == (0, "singan version 1: AVAILABLE\n")


# With the exported model.


@pytest.fixture
def served(served_export):
    """The target of a local server of the export."""
    return f"127.0.0.1:{served_export.port}"


def test_samples_are_those_of_main_to_the_last_bit(served, sampled):
    with SinGANClient(served, NAME) as client:
        images = client.sample([3, 4], height=44, width=66)
        files = client.sample([3, 4], height=44, width=66, png=True)
    np.testing.assert_array_equal(images, sampled)
    np.testing.assert_array_equal([pixels(file) for file in files], sampled)


def test_sizes_that_are_left_out_are_the_photographs(served):
    with SinGANClient(served, NAME) as client:
        assert client.sample([1, 2]).shape == (2, 32, 48, 3)
        assert client.reconstruct(3).shape == (3, 32, 48, 3)


def test_super_resolve_enlarges(served):
    with SinGANClient(served, NAME) as client:
        photograph = client.reconstruct()
        images = client.super_resolve(photograph, 1.5, seeds=8)
        (file,) = client.super_resolve([png(photograph[0])], 1.5, seeds=8, png=True)
    assert images.shape == (1, 48, 72, 3)
    np.testing.assert_array_equal(pixels(file), images[0])


def test_edit_keeps_what_is_outside_the_mask(served):
    with SinGANClient(served, NAME) as client:
        photograph = client.reconstruct()
        mask = np.zeros([1, 32, 48, 1], np.uint8)
        mask[:, 10:30, 20:40] = 255
        images = client.edit(photograph, 1, mask, seeds=2)
        everywhere = client.edit(photograph, 1, seeds=2)
        files = [png(photograph[0])], 1, [png(mask[0, ..., 0])], 2
        (file,) = client.edit(*files, png=True)
    np.testing.assert_array_equal(images, np.where(mask, everywhere, photograph))
    assert (images != photograph).any()
    np.testing.assert_array_equal(pixels(file), images[0])


def test_what_the_model_refuses_says_which_input(served):
    with SinGANClient(served, NAME) as client:
        with pytest.raises(grpc.RpcError) as refused:
            client.sample(1, start_scale=99)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "start_scale must be from 0 to" in refused.value.details()


def test_status_and_metadata_tell_what_is_served(served):
    with SinGANClient(served, NAME) as client:
        assert client.status() == {1: "AVAILABLE"}
        metadata = client.metadata()
    assert metadata["edit"] == {
        "inputs": {
            "image": ("DT_UINT8", (-1, -1, -1, 3)),
            "injection_scale": ("DT_INT32", (-1,)),
            "mask": ("DT_UINT8", (-1, -1, -1, 1)),
            "seed": ("DT_INT64", (-1,)),
        },
        "outputs": {"image": ("DT_UINT8", (-1, -1, -1, 3))},
    }


# The command line.


def test_sample_writes_an_image_for_each_seed_and_a_sheet(
    served, sampled, tmp_path, capsys
):
    arguments = [f"--target={served}", f"--model={NAME}", "--seeds=3,4", "--height=44"]
    arguments += ["--width=66", f"--output_dir={tmp_path / 'out'}"]
    status, out, _ = command(capsys, "sample", *arguments)
    assert status == 0 and str(tmp_path / "out") in out
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["contact_sheet.png", "seed_000003.png", "seed_000004.png"]
    for name, expected in zip(names[1:], sampled):
        np.testing.assert_array_equal(pixels(tmp_path / "out" / name), expected)
    sheet = pixels(tmp_path / "out" / names[0])
    np.testing.assert_array_equal(sheet[6:50, 6:72], sampled[0])
    np.testing.assert_array_equal(sheet[6:50, 78:144], sampled[1])

    status, _, error = command(capsys, "sample", *arguments)
    assert status == 1 and "--overwrite" in sentence(error)
    status, _, _ = command(capsys, "sample", *arguments, "--overwrite")
    assert status == 0


def test_the_other_commands_write_what_the_methods_return(served, tmp_path, capsys):
    common = [f"--target={served}", f"--model={NAME}"]
    made = tmp_path / "reconstructed"
    assert command(capsys, "reconstruct", *common, f"--output_dir={made}")[0] == 0
    photograph = made / "reconstruction.png"
    # Another format on its way becomes PNG.
    tiff = tmp_path / "photograph.tiff"
    Image.open(photograph).save(tiff)
    mask = tmp_path / "mask.png"
    Image.fromarray(np.uint8([[0, 255] * 24] * 32)).save(mask)
    with SinGANClient(served, NAME) as client:
        photo = client.reconstruct()
        enlarged = client.super_resolve(photo, 2, 5)
        edited = client.edit(photo, 1, np.asarray(Image.open(mask))[None, ..., None])
    np.testing.assert_array_equal(pixels(photograph), photo[0])
    for name, arguments, expected in (
        ("super_resolve", [f"--input={tiff}", "--factor=2", "--seeds=5"], enlarged),
        ("edit", [f"--input={tiff}", f"--mask={mask}", "--injection_scale=1"], edited),
    ):
        folder = tmp_path / name
        status, _, error = command(
            capsys, name, *common, *arguments, f"--output_dir={folder}"
        )
        assert (status, error) == (0, "")
        (path,) = folder.glob("seed_*.png")
        np.testing.assert_array_equal(pixels(path), expected[0])
        assert (folder / "contact_sheet.png").exists()


def test_a_mask_that_changes_nothing_is_refused(tmp_path, capsys):
    """As is one that a server takes for its inverse."""
    image, mask = tmp_path / "image.png", tmp_path / "mask.png"
    inside = np.zeros([30, 40], np.uint8)
    inside[5:9, 6:20] = 1
    Image.fromarray(inside).save(image)
    layer = np.stack([0 * inside, 255 * inside], axis=-1)
    files = [
        (0 * inside, "as good as empty: its brightest pixel is 0 of 255"),
        (inside, "its brightest pixel is 1 of 255"),
        (inside.astype(np.uint16), "its brightest pixel is 0 of 255"),
        (layer, "transparent in parts"),
    ]
    scripted = Scripted()
    with serving(scripted) as target:
        for pixel_values, said in files:
            Image.fromarray(pixel_values).save(mask)
            arguments = [f"--target={target}", f"--input={image}", f"--mask={mask}"]
            arguments += [f"--output_dir={tmp_path / 'out'}", "--injection_scale=1"]
            status, _, error = command(capsys, "edit", *arguments)
            assert status == 1
            assert f"--mask={mask} is" in sentence(error) and said in error
    assert not scripted.requests and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "mask",
    [
        np.uint8([[0, 255]]),
        np.uint8([[0, 40]]),
        np.uint16([[0, 65535]]),
        np.array([[False, True]]),
        np.uint8([[[0, 0, 0, 255], [255, 0, 0, 255]]]),
    ],
)
def test_a_mask_that_changes_something_is_sent(mask):
    assert masks.fault(png(mask)) is None


def test_status_says_what_is_wrong_with_a_version(capsys):
    states = get_model_status_pb2.ModelVersionStatus.State
    healthy = (2, states.AVAILABLE, "")
    broken = (3, states.END, "no variables")
    with serving(Statuses(healthy, broken)) as target:
        status, out, _ = command(capsys, "status", f"--target={target}")
    assert status == 0
    assert out.splitlines() == [
        "singan version 2: AVAILABLE",
        "singan version 3: END: no variables",
    ]
    with serving(Statuses(broken)) as target:
        status, _, error = command(capsys, "status", f"--target={target}")
    assert status == 1 and "No version of singan" in sentence(error)


def test_refusals_are_sentences(served, tmp_path, capsys):
    common = [f"--target={served}", f"--model={NAME}", f"--output_dir={tmp_path / 'o'}"]
    status, _, error = command(capsys, "sample", *common, "--start_scale=99")
    assert status == 1 and "INVALID_ARGUMENT" in sentence(error)
    assert "start_scale must be from 0" in error
    nobody = ["--target=127.0.0.1:1", "--deadline=0.5"]
    status, _, error = command(capsys, "sample", *nobody)
    assert status == 1 and "--target=127.0.0.1:1 within 0.5 s" in sentence(error)
    (tmp_path / "not.png").write_bytes(b"not an image")
    (tmp_path / "cut.tiff").write_bytes(b"II*\0\x08\0\0\0")
    for path in ("not.png", "cut.tiff", "absent.png"):
        arguments = [*common, f"--input={tmp_path / path}"]
        status, _, error = command(capsys, "super_resolve", *arguments)
        assert status == 1 and path in sentence(error)
    status, _, error = command(capsys, "status", "--root_certificates=absent.pem")
    assert status == 1 and "absent.pem" in sentence(error)
    (tmp_path / "file").write_text("")
    arguments = [*common[:2], f"--output_dir={tmp_path / 'file' / 'in'}"]
    status, _, error = command(capsys, "reconstruct", *arguments)
    assert status == 1 and "a part of its path is a file" in sentence(error)


def test_files_that_cannot_be_sent_are_sentences(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    # As long as there is a writer, who reads all of it waits for ever.
    writer = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)
    os.write(writer, b"junk")
    with open(tmp_path / "vast", "wb") as file:
        file.truncate(2**40)  # nothing of it is stored
    tags = {256: 0, 257: 10, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 10, 279: 9}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in tags)
    start = struct.pack("<4sIH", b"II*\0", 8, len(tags))
    (tmp_path / "flat").write_bytes(start + entries + bytes(4))
    header = struct.pack("<IHHI", 154, 0, 0, 54) + struct.pack("<Iii", 40, 10**8, 1)
    row = struct.pack("<HHIIiiII", 1, 24, 0, 0, 0, 0, 0, 0) + bytes(100)
    (tmp_path / "long").write_bytes(b"BM" + header + row)
    for name, said in (
        ("pipe", "is a pipe"),
        ("vast", "more than 2 GiB"),
        ("flat", "flat is damaged"),
        ("long", "more memory than there is"),
        (".", "is a folder"),
        ("a\nb\x1b[31m", r"a\nb\x1b[31m cannot be opened"),
        ("x" * 300, "too long"),
    ):
        arguments = ["--target=127.0.0.1:1", f"--input={tmp_path}/{name}"]
        status, _, error = command(capsys, "super_resolve", *arguments)
        assert status == 1 and said in sentence(error)
        assert f"error: --input={tmp_path}" in error
    os.close(writer)


def read_png(path):
    """What of a file is sent."""
    values = absl.flags.FlagValues()
    absl.flags.DEFINE_string("input", str(path), "", flag_values=values)
    values.mark_as_parsed()
    return client_commands._read_png(values, "input")


def test_colours_are_sent_as_the_program_itself_reads_them(tmp_path, caplog):
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    display_p3 = rgb_profile("Display P3", DISPLAY_P3, srgb_to_linear)
    for name, options in (("a.png", {}), ("a.tif", {}), ("a.webp", {"lossless": True})):
        path = tmp_path / name
        Image.fromarray(colours).save(path, icc_profile=display_p3, **options)
        content = read_png(path)
        assert f"{path}: its colours were converted" in caplog.text
        expected = images.to_uint8(images.read(path))[0]
        np.testing.assert_array_equal(pixels(content), expected)
    for icc in (rgb_profile("sRGB", SRGB, srgb_to_linear), b"broken"):
        Image.fromarray(colours).save(tmp_path / "b.png", icc_profile=icc)
        np.testing.assert_array_equal(pixels(read_png(tmp_path / "b.png")), colours)


def test_the_command_says_how_a_file_was_read(tmp_path):
    values = np.uint16([[0, 4095]])
    Image.fromarray(values).save(tmp_path / "a.tif")
    arguments = ["--target=127.0.0.1:1", "--deadline=0.1", f"--input={tmp_path}/a.tif"]
    done = subprocess.run(
        [sys.executable, "-m", "export.client", "super_resolve", *arguments],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    told, refused = done.stderr.splitlines()
    assert "has 16 bits, but no value above 4095" in told
    assert refused.startswith("error: No server answers")


def test_grey_of_a_profile_is_sent_in_srgb(tmp_path):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = linear_to_srgb((grey / 255) ** 1.8)[..., None] * 255 + [0] * 3
    for name in ("a.png", "a.tif"):
        Image.fromarray(grey).save(tmp_path / name, icc_profile=grey_profile())
        found = pixels(read_png(tmp_path / name))
        np.testing.assert_allclose(found, expected, atol=2)


def test_ink_is_sent_in_srgb(tmp_path):
    cmyk = Image.new("CMYK", (16, 16), (0, 0, 0, 128))
    cmyk.save(tmp_path / "a.jpg", icc_profile=cmyk_profile(), quality=100)
    # Lightness 49.8 is 18.2 % of the light.
    half = linear_to_srgb(((49.8 + 16) / 116) ** 3) * 255
    np.testing.assert_allclose(pixels(read_png(tmp_path / "a.jpg")), half, atol=3)


def test_more_than_8_bits_are_sent_as_the_nearest_level(tmp_path):
    share = np.random.default_rng(0).uniform(size=(6, 9))
    in_16_bits = np.round(share * 65535).astype(np.uint16)
    expected = np.round(share * 255)[..., None] + [0] * 3
    for name in ("a.png", "a.tif"):
        Image.fromarray(in_16_bits).save(tmp_path / name)
        np.testing.assert_array_equal(pixels(read_png(tmp_path / name)), expected)
    Image.fromarray(share.astype(np.float32)).save(tmp_path / "float.tif")
    np.testing.assert_array_equal(pixels(read_png(tmp_path / "float.tif")), expected)


def test_what_is_transparent_is_sent_so(tmp_path):
    layer = np.random.default_rng(0).integers(1, 256, (6, 9, 4), dtype=np.uint8)
    Image.fromarray(layer).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(pixels(read_png(tmp_path / "a.tif")), layer)
    assert "transparent in parts" in masks.fault(read_png(tmp_path / "a.tif"))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_a_plain_png_is_sent_as_it_is(tmp_path, mode):
    picture = Image.fromarray(IMAGES[0]).convert(mode)
    picture.save(tmp_path / "a.png", compress_level=0)
    assert read_png(tmp_path / "a.png") == (tmp_path / "a.png").read_bytes()


def test_a_picture_is_sent_upright(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # a quarter to the right
    for name in ("a.png", "a.tif"):
        Image.fromarray(IMAGES[0]).save(tmp_path / name, exif=exif)
        found = pixels(read_png(tmp_path / name))
        np.testing.assert_array_equal(found, np.rot90(IMAGES[0], -1))
    # As XMP has it, which not every program writes as EXIF, too.
    told = PngImagePlugin.PngInfo()
    xmp = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
    told.add_itxt("XML:com.adobe.xmp", xmp)
    Image.fromarray(IMAGES[0]).save(tmp_path / "xmp.png", pnginfo=told)
    found = pixels(read_png(tmp_path / "xmp.png"))
    expected = images.to_uint8(images.read(tmp_path / "xmp.png")[0])
    np.testing.assert_array_equal(found, expected)
    assert found.shape[:2] == IMAGES[0].shape[1::-1]


def test_a_command_says_that_it_waits_and_for_how_long(capsys, monkeypatch):
    monkeypatch.setattr(export.client, "_PATIENCE", 0.4)
    flags = ["--target=127.0.0.1:1", "--deadline=1.9"]
    status, _, error = command(capsys, "status", *flags)
    waiting, end = error.splitlines()
    assert status == 1
    assert "127.0.0.1:1 yet" in waiting and "at most 1 s more" in waiting
    assert end.startswith("error: No server answers at --target=127.0.0.1:1 within 1.9")


def test_a_host_that_does_not_exist_is_told_soon(capsys, monkeypatch):
    monkeypatch.setattr(export.client, "_PATIENCE", 0.4)
    start = time.monotonic()
    # A name that no name server needs to be asked about.
    status, _, error = command(capsys, "status", "--target=no..host:8500")
    assert status == 1
    assert "--target=no..host:8500 names a host that is not found" in error
    assert time.monotonic() - start < 20


@pytest.mark.slow
def test_ctrl_c_ends_the_waiting_at_once():
    process = subprocess.Popen(
        [sys.executable, "-m", "export.client", "status", "--target=127.0.0.1:1"],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stderr=subprocess.PIPE,
        text=True,
        # Of a shell's background jobs it is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert "waiting" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 130
        assert process.stderr.read().split() == ["Stopped."]
    finally:
        process.kill()
        process.wait(120)


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["smple"], "did you mean sample"),
        (["sample", "--sed=1"], "sed"),
        (["sample", "extra"], "extra is not a flag"),
        (["sample", "--seeds=one"], "--seeds"),
        (["sample", "--seeds="], "--seeds"),
        (["sample", f"--seeds={2**63}"], "--seeds"),
        (["sample", f"--seeds={-(2**63) - 1}"], "--seeds"),
        (["sample", "--height=0"], "height"),
        (["super_resolve"], "--input is missing"),
        (["super_resolve", "--factor=17"], "factor"),
        (["edit", "--input=x"], "--injection_scale is missing"),
        (["status", "--version=1", "--label=stable"], "choose one"),
        (["sample", "--noise_scale=11"], "noise_scale"),
        (["sample", f"--start_scale={2**31}"], "start_scale"),
        (["sample", f"--height={10**400}"], "height"),
        (["edit", "--input=x", f"--injection_scale={10**12}"], "injection_scale"),
        (["status", "--deadline=1e300"], "deadline"),
    ],
)
def test_bad_usage_is_told_in_a_sentence(arguments, said, capsys):
    status, _, error = command(capsys, *arguments)
    assert status == 2 and said in sentence(error)


def test_it_needs_a_working_folder(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    status, _, error = command(capsys, "sample", "--target=127.0.0.1:1")
    assert status == 1 and "working folder was removed" in sentence(error)


def test_names_do_not_reach_the_terminal_raw(capsys):
    status, _, error = command(capsys, "super_resolve", "--input=a\x1b[2J\nb")
    assert status == 1
    assert r"--input=a\x1b[2J\nb cannot be opened" in sentence(error)


def test_help_lists_commands_and_flags(capsys):
    status, out, _ = command(capsys)
    assert status == 0
    for name in (each.name for each in client_commands.COMMANDS):
        assert name in out
        status, told, _ = command(capsys, name, "--help")
        assert status == 0 and "--target=localhost:8500" in told


def test_the_file_needs_nothing_of_this_repository(tmp_path):
    source = pathlib.Path(export.client.__file__)
    # But for what starts the command line.
    nodes = [
        node
        for statement in ast.parse(source.read_text(encoding="utf-8")).body
        if not ast.unparse(statement).startswith("if __name__ == '__main__'")
        for node in ast.walk(statement)
    ]
    roots = {
        alias.name.split(".")[0]
        for node in nodes
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        node.module.split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)
    }
    third_party = (
        roots - set(sys.stdlib_module_names) if sys.version_info >= (3, 10) else roots
    )
    assert third_party >= {"grpc", "tensorflow_serving"}
    assert {"singan_tf", "keras", "export"}.isdisjoint(third_party)
    shutil.copy(source, tmp_path)

    def start(*arguments):
        return subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True
        )

    script = "import client; client.SinGANClient('localhost:1').close()"
    assert start("-c", script).returncode == 0
    done = start("client.py", "--help")
    assert done.returncode == 1
    assert "python -m export.client in the repository" in sentence(done.stderr)


def test_the_command_has_the_name_of_the_file():
    done = subprocess.run(
        [sys.executable, "-m", "export.client", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "super_resolve" in done.stdout
    assert "python -m export.client COMMAND" in done.stdout
