"""A bounded load test of any server of an export: latency and throughput.

    python tests/benchmarks/load_test.py --target=127.0.0.1:8500 --model=NAME

For each batch size and number of clients it sends so many requests, or for so many
seconds, and prints a row of a Markdown table. Latencies are the clients': from the
call to the answer's arrival, with the time in the server's queue.
"""

import collections
import concurrent.futures
import io
import itertools
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any, Callable, NamedTuple, Optional

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
    from singan_tf.cli import quiet

    quiet.hush()

import grpc
import numpy as np
import tensorflow as tf
from absl import flags
from PIL import Image
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    model_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from singan_tf.cli import command_line, commands
from singan_tf.config import MAX_PIXELS
from singan_tf.errors import UsageError, UserError

HEADER = (
    "| batch | clients | answered | errors | p50 ms | p95 ms | p99 ms | requests/s | "
    "images/s |\n"
    "|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)
_MOST_REQUESTS = 100_000
_MOST_SECONDS = 3600.0
_MOST_AT_A_TIME = {"batch_sizes": 1024, "concurrency": 256}
# Of images to send, where --height and --width say nothing.
_SIDE = 128


class Load(NamedTuple):
    """What one row of the table does.

    Attributes:
        batch: Rows of each request.
        clients: Threads that call, each again as soon as it is answered.
        requests: How many in all.
        seconds: No request starts later than this.
        deadline: Of each request, in seconds.
    """

    batch: int
    clients: int
    requests: int
    seconds: float
    deadline: float


class Result(NamedTuple):
    """What came of it.

    Attributes:
        latencies: Of the requests that were answered, in seconds, float64 [n].
        errors: How many failed, by the name of gRPC's code.
        elapsed: From the first request's start to the last one's end, in seconds.
    """

    latencies: np.ndarray
    errors: collections.Counter
    elapsed: float


def run(
    predict: Callable[..., Any],
    make_request: Callable[[int], predict_pb2.PredictRequest],
    load: Load,
) -> Result:
    """Calls a server from several threads at once.

    Args:
        predict: The stub's method.
        make_request: Makes a request from its number.
        load: How many, how long.

    Returns:
        Latencies and errors.
    """
    numbers = itertools.count()
    latencies, errors = [], []
    begin = time.perf_counter()

    def call_until_done() -> None:
        # One number each, also without a lock.
        for number in numbers:
            if number >= load.requests or time.perf_counter() > begin + load.seconds:
                return
            request = make_request(number)
            start = time.perf_counter()
            try:
                predict(request, timeout=load.deadline)
            except grpc.RpcError as error:
                errors.append(error.code().name)
            else:
                latencies.append(time.perf_counter() - start)

    with concurrent.futures.ThreadPoolExecutor(load.clients) as pool:
        clients = [pool.submit(call_until_done) for _ in range(load.clients)]
    for client in clients:
        client.result()
    elapsed = time.perf_counter() - begin
    return Result(np.array(latencies), collections.Counter(errors), elapsed)


def table_row(load: Load, result: Result) -> str:
    """A row below HEADER.

    Args:
        load: What was done.
        result: What came of it.

    Returns:
        A line of Markdown.
    """
    answered = len(result.latencies)
    milliseconds = ["-"] * 3
    if answered:
        quantiles = np.percentile(result.latencies, [50, 95, 99])
        milliseconds = [f"{1000 * value:.1f}" for value in quantiles]
    errors = ", ".join(f"{n} {code}" for code, n in sorted(result.errors.items()))
    rate = answered / result.elapsed
    cells = [load.batch, load.clients, answered, errors or 0, *milliseconds]
    cells += [f"{rate:.2f}", f"{rate * load.batch:.2f}"]
    return "| " + " | ".join(map(str, cells)) + " |"


def typical_inputs(
    definition: meta_graph_pb2.SignatureDef,
    height: Optional[int] = None,
    width: Optional[int] = None,
) -> dict[str, np.ndarray]:
    """Values for one row of a signature's inputs.

    Args:
        definition: The SignatureDef.
        height: Of the images to ask for or to send, in pixels; None leaves the
            former to the server and makes the latter 128.
        width: Likewise.

    Returns:
        Arrays by input.

    Raises:
        UserError: An input is none of an export's.
        UsageError: The images to send are too large.
    """
    size = height or _SIDE, width or _SIDE
    if {"image", "image_bytes"}.isdisjoint(definition.inputs):
        size = 1, 1
    if size[0] * size[1] > MAX_PIXELS:
        raise UsageError(
            f"--height={size[0]} x --width={size[1]} must be at most {MAX_PIXELS:,} "
            "pixels."
        )
    channels = 3
    if "image" in definition.inputs:
        channels = definition.inputs["image"].tensor_shape.dim[3].size
    image = np.random.default_rng(0).integers(0, 256, [*size, channels], np.uint8)
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if channels == 1 else image).save(file, "PNG")
    known = {
        "seed": 0,
        "start_scale": 0,
        "height": height,
        "width": width,
        "noise_scale": 1,
        "factor": 2,
        "injection_scale": 1,
        "image": image,
        "mask": np.full([*size, 1], 255),
        "image_bytes": file.getvalue(),
        "mask_bytes": b"",
    }
    for name in definition.inputs:
        if name not in known:
            raise UserError(
                f"The load test has no value for the input {name}; choose a "
                "--signature of an export."
            )
    return {
        name: np.asarray(known[name], tf.as_dtype(info.dtype).as_numpy_dtype)
        for name, info in definition.inputs.items()
        if known[name] is not None
    }


def request_of(
    spec: model_pb2.ModelSpec, inputs: dict[str, np.ndarray], batch: int, number: int
) -> predict_pb2.PredictRequest:
    """Makes a request with seeds that no other one has.

    Args:
        spec: The ModelSpec.
        inputs: Of one row.
        batch: Rows.
        number: Of the request.

    Returns:
        The request.
    """
    request = predict_pb2.PredictRequest(model_spec=spec)
    for name, value in inputs.items():
        rows = np.stack([value] * batch)
        if name == "seed":
            rows = np.arange(batch) + number * batch
        request.inputs[name].CopyFrom(tf.make_tensor_proto(rows))
    return request


def _definition(
    stub: prediction_service_pb2_grpc.PredictionServiceStub,
    spec: model_pb2.ModelSpec,
    deadline: float,
) -> meta_graph_pb2.SignatureDef:
    """The signature, as the server describes it."""
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=spec, metadata_field=["signature_def"]
    )
    found = get_model_metadata_pb2.SignatureDefMap()
    response = stub.GetModelMetadata(request, timeout=deadline)
    response.metadata["signature_def"].Unpack(found)
    name = spec.signature_name
    if name not in found.signature_def:
        raise UserError(
            f"--signature={name} is none of the model's: "
            f"{', '.join(sorted(found.signature_def))}."
        )
    return found.signature_def[name]


def _print_table(values: flags.FlagValues, channel: grpc.Channel) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = predict_pb2.PredictRequest()
    spec = request.model_spec
    spec.name = values.model
    spec.signature_name = values.signature
    definition = _definition(stub, spec, values.deadline)
    inputs = typical_inputs(definition, values.height, values.width)
    print(HEADER)
    for batch in _counts(values, "batch_sizes"):
        # The first one of a kind may take longer; and if it fails, so do all.
        stub.Predict(request_of(spec, inputs, batch, 0), timeout=values.deadline)
        for clients in _counts(values, "concurrency"):
            load = Load(
                batch, clients, values.requests, values.seconds, values.deadline
            )
            result = run(
                stub.Predict,
                lambda number, batch=batch: request_of(spec, inputs, batch, number),
                load,
            )
            print(table_row(load, result), flush=True)


def _counts(values: flags.FlagValues, name: str) -> list[int]:
    most = _MOST_AT_A_TIME[name]
    try:
        counts = [int(text) for text in values[name].value]
    except ValueError:
        counts = []
    if not counts or not all(1 <= count <= most for count in counts):
        raise UsageError(
            f"--{name}={','.join(values[name].value)} must be numbers from 1 to {most}."
        )
    return counts


def _define(values: flags.FlagValues) -> None:
    for name, default, meaning in (
        ("target", "127.0.0.1:8500", "The server's host and port."),
        ("model", None, "Its name at the server."),
        ("signature", "sample", "Which to call."),
    ):
        flags.DEFINE_string(name, default, meaning, flag_values=values)
    command_line.define_path(
        "root_certificates", None, "A PEM file to trust, for a server with TLS.", values
    )
    flags.DEFINE_list("batch_sizes", ["1", "4"], "Rows.", flag_values=values)
    flags.DEFINE_list(
        "concurrency", ["1", "2", "4"], "Clients at a time.", flag_values=values
    )
    flags.DEFINE_integer(
        "requests", 100, "For each row.", 1, _MOST_REQUESTS, flag_values=values
    )
    for name, default, meaning in (
        ("seconds", 60.0, "For each row, at most."),
        ("deadline", 60.0, "Of each request, in seconds."),
    ):
        flags.DEFINE_float(
            name, default, meaning, 0.001, _MOST_SECONDS, flag_values=values
        )
    for side in ("height", "width"):
        flags.DEFINE_integer(
            side,
            None,
            "Of images to ask for, by default the photograph's; or to send, by default "
            f"{_SIDE}.",
            1,
            MAX_PIXELS,
            flag_values=values,
        )


def main(argv: Sequence[str]) -> int:
    """Runs the load test.

    Args:
        argv: As sys.argv.

    Returns:
        The exit status: 0, 1 where the server does not answer, 2 for bad usage.
    """
    return commands.run_one(COMMAND, argv, "python tests/benchmarks/load_test.py")


def _check(call: commands.Call) -> None:
    call.require("model")
    for name in _MOST_AT_A_TIME:
        _counts(call.values, name)


def _run(call: commands.Call) -> None:
    values = call.values
    with _channel(values) as channel:
        try:
            _print_table(values, channel)
        except grpc.RpcError as error:
            details = " ".join(error.details().split())
            raise UserError(
                f"{values.target} answers {error.code().name}: {details}"
            ) from None


COMMAND = commands.Command(
    "", "Measure the latency and throughput of a server.", _define, _run, _check
)


def _channel(values: flags.FlagValues) -> grpc.Channel:
    options = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
    ]
    if not values.root_certificates:
        return grpc.insecure_channel(values.target, options)
    try:
        roots = pathlib.Path(values.root_certificates).read_bytes()
    except OSError as error:
        raise UserError(
            f"--root_certificates={values.root_certificates} cannot be read "
            f"({error.strerror}); name another file."
        ) from None
    return grpc.secure_channel(
        values.target, grpc.ssl_channel_credentials(roots), options
    )


if __name__ == "__main__":
    command_line.set_up_streams()
    sys.exit(main(sys.argv))
