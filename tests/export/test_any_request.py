"""Requests of any kind: each is answered, or refused with the right code."""

import json

import grpc
import numpy as np
import pytest
import tensorflow as tf
from helpers import pixels, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from png_files import grey_png
from serving_helpers import request, resident_bytes, values
from tensorflow_serving.apis import predict_pb2

Code = grpc.StatusCode


# Of the small model


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


# Of an export


GREY = np.full((1, 40, 50, 3), 128, np.uint8)


@pytest.mark.parametrize(
    ("message", "part"),
    [
        (request("sample", seed=[]), "seed"),
        (request("sample", seed=[1] * 9), "seed"),
        (request("sample", seed=[1, 2, 3], height=[40, 40]), "row"),
        (request("sample", seed=[1, 2], height=[40, 41]), "height"),
        (request("sample", seed=[1], height=[100_000], width=[100_000]), "height"),
        (request("sample", seed=[1], height=[0]), "height"),
        (request("sample", seed=[1], width=[-1]), "width"),
        (request("sample", seed=[1], start_scale=[99]), "start_scale"),
        (request("sample", seed=[1], noise_scale=[np.nan]), "noise_scale"),
        (request("sample", seed=[1], noise_scale=[np.inf]), "noise_scale"),
        (request("sample_png", seed=[1], height=[100_000]), "height"),
        (request("super_resolve", image=GREY, factor=[np.nan]), "factor"),
        (request("super_resolve", image=GREY, factor=[16]), "factor"),
        (request("super_resolve", image=GREY[:, :0]), "image"),
        (request("super_resolve", image=GREY[:0]), "image"),
        (request("super_resolve_png", image_bytes=[b""]), "image_bytes"),
        (request("super_resolve_png", image_bytes=[b"GIF89a"]), "image_bytes"),
        (request("super_resolve_png", image_bytes=[grey_png(40, 50)[:60]]), "PNG"),
        (request("super_resolve_png", image_bytes=[grey_png(40, 50, rows=3)]), "PNG"),
        (
            request(
                "super_resolve_png", image_bytes=[grey_png(50_000, 50_000, rows=1)]
            ),
            "image_bytes",
        ),
        (request("edit", image=GREY, injection_scale=[0]), "injection_scale"),
        (
            request("edit", image=GREY, injection_scale=[1], mask=GREY[:, 1:, :, :1]),
            "mask",
        ),
        (
            request(
                "edit_png",
                image_bytes=[grey_png(40, 50)],
                injection_scale=[1],
                mask_bytes=[grey_png(50_000, 50_000, rows=1)],
            ),
            "mask_bytes",
        ),
        (request("reconstruct"), "seed"),
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
    grey_png,
    st.sampled_from([1, 30, 40, 400, 2**31 - 1]),
    st.sampled_from([1, 30, 50, 60_000]),
    st.integers(0, 50),
)
FILES = vectors(PNGS | ANY_BYTES | st.just(grey_png(40, 50)))
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
            drawn = data.draw(INPUTS[key])
            message.inputs[key].CopyFrom(request(name, **{key: drawn}).inputs[key])
    try:
        served_export.predict(message)
    except grpc.RpcError as error:
        assert error.code() == Code.INVALID_ARGUMENT
        assert "\n" not in error.details()


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
    message = request("sample", seed=[6, 7], height=[40], width=[50])
    for seed, image in zip((6, 7), values(served_export.predict(message), "image")):
        expected = pixels(output_dir / f"seed_{seed:06d}.png")
        np.testing.assert_array_equal(image, expected)
