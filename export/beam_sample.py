r"""Apache Beam: a file of requests becomes images, on any runner.

    python -m export.beam_sample --input=requests.jsonl --output=images \
        --model=runs/coffee/saved_model [any flag of the runner]

Each line of the input is a JSON object: an `id`, which names the image; a `signature`,
sample by default, or super_resolve, edit, reconstruct; and that signature's inputs as
single values, `image` and `mask` as paths. What cannot be done goes to errors.jsonl
with its line number and stops nothing else. Running it again writes the same names.

Needs requirements-beam.txt. Without --runner everything runs in this process.
"""

import contextlib
import importlib.util
import io
import json
import logging
import os
import re
import sys
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Optional

if __name__ == "__main__":
    if importlib.util.find_spec("apache_beam") is None:
        sys.exit("error: Beam is missing; pip install -r requirements-beam.txt.")
    from singan_tf.cli import quiet

    quiet.hush()
    # Beam speaks of optional parts that it lacks; real errors arrive as exceptions.
    logging.getLogger().setLevel(logging.ERROR)

import apache_beam as beam
import numpy as np
import tensorflow as tf
from absl import flags
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems
from apache_beam.ml.inference import base
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from PIL import Image

from export import layout, masks
from export.pipeline import Input, Pipeline, find_version, read_signatures
from singan_tf import images
from singan_tf.cli import command_line, commands
from singan_tf.errors import UsageError, UserError, reason_of

_TASKS = ("sample", "super_resolve", "edit", "reconstruct")
_ERRORS = "errors.jsonl"
_SHEET = "contact_sheet"
_SHEET_CELLS = 49
_SHEET_SIDE = 256
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")


class SignatureHandler(base.ModelHandler):
    """Calls a signature in RunInference.

    An example is a dict of the signature's inputs without their batch dimension, an
    inference a dict of its outputs likewise. The model computes row after row anyway,
    so batches hold one: an example that is refused (ValueError) takes no neighbours
    with it.
    """

    def __init__(self, path: str, signature: str = "serving_default"):
        """Keeps the arguments; workers load the model.

        Args:
            path: As in `Pipeline`; one that workers can read.
            signature: Likewise.
        """
        super().__init__()
        self._path, self._signature = path, signature

    def batch_elements_kwargs(self) -> dict[str, int]:
        """Batches of one."""
        return {"min_batch_size": 1, "max_batch_size": 1}

    def load_model(self) -> Pipeline:
        """Loads the model, once in a process."""
        return Pipeline(self._path, self._signature)

    def run_inference(
        self,
        batch: Sequence[dict],
        model: Pipeline,
        inference_args: Optional[dict[str, Any]] = None,
    ) -> Iterator[base.PredictionResult]:
        """Calls the signature for each example.

        Args:
            batch: Examples.
            model: What `load_model` returned.
            inference_args: None; the inputs are all there is.

        Yields:
            Example and inference.
        """
        for example in batch:
            rows = {
                name: np.asarray(value)[np.newaxis] for name, value in example.items()
            }
            outputs = model(rows)
            inference = {name: value[0] for name, value in outputs.items()}
            yield base.PredictionResult(example, inference, model.path)


class _LineHandler(SignatureHandler):
    """Gives the refusal of a line as its inference: a pipeline goes on with others."""

    def run_inference(
        self,
        batch: Sequence[dict],
        model: Pipeline,
        inference_args: Optional[dict[str, Any]] = None,
    ) -> Iterator[base.PredictionResult]:
        for example in batch:
            try:
                yield from super().run_inference([example], model)
            except ValueError as error:
                yield base.PredictionResult(example, error, model.path)


class Request(NamedTuple):
    """A line that could be read.

    Attributes:
        line: Its number, from 1.
        id: Names the image.
        task: One of the signatures that take and give PNG files, without _png.
        inputs: Input to value; paths of images and masks.
    """

    line: int
    id: str
    task: str
    inputs: dict


def parse(text: bytes, line: int, signatures: dict[str, dict[str, Input]]) -> Request:
    """Reads a line.

    Args:
        text: JSON in UTF-8.
        line: Its number.
        signatures: Of `read_signatures`.

    Returns:
        The request, its ranges not checked: the model does that.

    Raises:
        ValueError: with a sentence that says what is wrong.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("The line is not JSON in UTF-8.") from None
    if not isinstance(fields, dict):
        raise ValueError("The line is not a JSON object.")
    name = fields.pop("id", None)
    if not isinstance(name, str) or not _ID.fullmatch(name) or name == _SHEET:
        raise ValueError(
            "id must be 1 to 200 letters, digits, dots, - or _, must not begin with a "
            f"dot, and must not be {_SHEET}."
        )
    task, tasks = fields.pop("signature", "sample"), _tasks(signatures)
    if task not in tasks:
        raise ValueError(f"signature must be one of {', '.join(tasks)}.")
    specs = {_field(key): spec for key, spec in signatures[f"{task}_png"].items()}
    if task == "reconstruct":
        fields.setdefault("seed", 0)
    for key in fields:
        if key not in specs:
            raise ValueError(f"{task} has no {key}; it takes {', '.join(specs)}.")
    for key, spec in specs.items():
        if spec.default is None and key not in fields:
            raise ValueError(f"{key} is missing; {task} needs it.")
    inputs = {key: _value(key, value, specs[key]) for key, value in fields.items()}
    return Request(line, name, task, inputs)


def build(
    pipeline: beam.Pipeline,
    input_path: str,
    output: str,
    model: str,
    signatures: dict[str, dict[str, Input]],
) -> None:
    """Adds the steps from requests to images to a pipeline.

    Args:
        pipeline: To add them to.
        input_path: Of the requests; anything that Beam can read.
        output: The folder of the images; anything that Beam can write.
        model: As in `Pipeline`; one that workers can read.
        signatures: Of `read_signatures`.
    """
    errors = []
    lines = (
        pipeline
        | "Input" >> beam.Create([input_path])
        | "Lines" >> beam.FlatMap(_read_lines)
    )
    requests, refused = lines | "Parse" >> beam.ParDo(_Parse(signatures)).with_outputs(
        "refused", main="requests"
    )
    errors.append(refused)
    # Grouping also spreads the lines over the workers.
    requests, refused = (
        requests
        | "By id" >> beam.GroupBy(lambda request: request.id)
        | "Once" >> beam.ParDo(_once).with_outputs("refused", main="requests")
    )
    errors.append(refused)
    tasks = _tasks(signatures)
    *by_task, refused = requests | "Read images" >> beam.ParDo(
        _read_images
    ).with_outputs(*tasks, "refused")
    errors.append(refused)
    results = [
        examples
        | task
        >> base.RunInference(base.KeyedModelHandler(_LineHandler(model, f"{task}_png")))
        for task, examples in zip(tasks, by_task)
    ]
    refused = _write_results(results, output)
    errors.append(refused)
    _ = (
        errors
        | "Errors" >> beam.Flatten()
        | "All errors" >> beam.combiners.ToList()
        | "Write errors" >> beam.Map(_write_errors, output)
    )


def _write_results(results: list[beam.PCollection], output: str) -> beam.PCollection:
    """Adds the steps that write images and the contact sheet; gives the refusals."""
    cells, refused = (
        results
        | "Results" >> beam.Flatten()
        | "Write"
        >> beam.ParDo(_write_picture, output).with_outputs("refused", main="cells")
    )
    _ = (
        cells
        | "First" >> beam.combiners.Top.Smallest(_SHEET_CELLS, key=lambda cell: cell[0])
        | "Sheet" >> beam.Map(_write_sheet, output)
    )
    return refused


class _Parse(beam.DoFn):
    def __init__(self, signatures: dict[str, dict[str, Input]]):
        self._signatures = signatures

    def process(self, numbered: tuple[int, bytes]) -> Iterator:
        line, text = numbered
        try:
            yield parse(text, line, self._signatures)
        except ValueError as error:
            yield _refused(line, error)


def _read_lines(path: str) -> Iterator[tuple[int, bytes]]:
    with FileSystems.open(path) as file:
        for line, text in enumerate(file, 1):
            if text.strip():
                yield line, text


def _once(group: tuple[str, Iterable[Request]]) -> Iterator:
    """Lets the first line of an id through: two would write one file."""
    name, requests = group
    first, *others = sorted(requests, key=lambda request: request.line)
    yield first
    for other in others:
        yield _refused(other.line, f"id {name} is taken by line {first.line}.")


def _read_images(request: Request) -> Iterator:
    inputs = dict(request.inputs)
    for name in ("image", "mask"):
        if name in inputs:
            path = inputs.pop(name)
            if os.path.exists(path) and not os.path.isfile(path):
                # A pipe on this machine could keep a worker waiting for ever.
                yield _refused(request.line, f"{name} {path} is not a file.")
                return
            try:
                with FileSystems.open(path) as file:
                    inputs[f"{name}_bytes"] = np.array(file.read(), object)
            except (OSError, BeamIOError, ValueError):
                yield _refused(request.line, f"{name} {path} cannot be read.")
                return
            fault = name == "mask" and masks.fault(inputs["mask_bytes"].item())
            if fault:
                yield _refused(request.line, f"mask {path} {fault}.")
                return
    example = (request.line, request.id), inputs
    yield beam.pvalue.TaggedOutput(request.task, example)


def _refused(line: int, error: object) -> beam.pvalue.TaggedOutput:
    return beam.pvalue.TaggedOutput("refused", (line, f"{error}".rstrip(".") + "."))


def _write_picture(
    result: tuple[tuple[int, str], base.PredictionResult], output: str
) -> Iterator:
    (line, name), prediction = result
    if isinstance(prediction.inference, ValueError):
        yield _refused(line, prediction.inference)
        return
    picture = prediction.inference["image_bytes"]
    _write(FileSystems.join(output, f"{name}.png"), picture)
    small = Image.open(io.BytesIO(picture)).convert("RGB")
    small.thumbnail((_SHEET_SIDE, _SHEET_SIDE))
    yield line, name, np.asarray(small)


def _write_sheet(cells: list[tuple[int, str, np.ndarray]], output: str) -> None:
    if not cells:
        return
    _, names, pictures = zip(*cells)
    file = io.BytesIO()
    Image.fromarray(images.contact_sheet(pictures, names)).save(file, format="PNG")
    _write(FileSystems.join(output, f"{_SHEET}.png"), file.getvalue())


def _write_errors(errors: Iterable[tuple[int, str]], output: str) -> None:
    lines = [
        json.dumps({"line": line, "error": error}) for line, error in sorted(errors)
    ]
    content = "".join(f"{line}\n" for line in lines)
    _write(FileSystems.join(output, _ERRORS), content.encode())


def _write(path: str, content: bytes) -> None:
    """Writes a file whole: Beam may run a step twice, or two of it at once."""
    folder, name = FileSystems.split(path)
    temporary = FileSystems.join(folder, f".{name}.{uuid.uuid4().hex}.tmp")
    # The compression is not to be guessed from the name.
    mime, plain = "application/octet-stream", "uncompressed"
    with FileSystems.create(temporary, mime, plain) as file:
        file.write(content)
    FileSystems.rename([temporary], [path])


def _tasks(signatures: dict[str, Any]) -> list[str]:
    return [task for task in _TASKS if f"{task}_png" in signatures]


def _field(key: str) -> str:
    suffix = "_bytes"
    return key[: -len(suffix)] if key.endswith(suffix) else key


def _value(key: str, value: Any, spec: Input) -> Any:
    if spec.dtype == object:
        if isinstance(value, str) and value:
            return value
        raise ValueError(f"{key} must be a path.")
    whole = spec.dtype.kind == "i"
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise ValueError(f"{key} must be a {'whole ' if whole else ''}number.")
    if whole and not np.iinfo(spec.dtype).min <= value <= np.iinfo(spec.dtype).max:
        raise ValueError(f"{key} is beyond {spec.dtype.name}.")
    return spec.dtype.type(value)


# The command line.


def _define(values: flags.FlagValues) -> None:
    for name, meaning in (
        ("input", "The file of requests, one a line."),
        ("output", "The folder that images go to."),
        ("model", "An exported model: RUN/saved_model, or one version in it."),
    ):
        command_line.define_path(name, None, meaning, values)


def _check(call: commands.Call) -> None:
    call.require("input", "output", "model")
    for argument in call.rest:
        if not argument.startswith("-"):
            raise UsageError(f"{argument} is not a flag; flags look like --name=value.")


def _run(call: commands.Call) -> None:
    values = call.values
    done, refused = _generate(values.input, values.output, values.model, call.rest)
    sheet = f"{FileSystems.join(values.output, _SHEET)}.png"
    command_line.say(f"Wrote {values.output}" + (f"; see {sheet}" if done else ""))
    if refused:
        raise UserError(
            f"{refused} of the lines could not be done; "
            f"{FileSystems.join(values.output, _ERRORS)} says why."
        )


def _generate(
    input_path: str, output: str, model: str, beam_flags: Sequence[str]
) -> tuple[int, int]:
    """Runs the pipeline; returns how many lines were done, and how many could not."""
    try:
        model = find_version(model)
    except FileNotFoundError as error:
        raise UserError(f"--model: {error}; python main.py export makes one.") from None
    try:
        signatures = read_signatures(model)
    except layout.WrongFormat as error:
        raise UserError(f"--model: {error}") from None
    except (ValueError, tf.errors.OpError) as error:
        raise UserError(
            f"--model={model} cannot be read ({reason_of(error)}); export it again."
        ) from None
    if not _tasks(signatures):
        raise UserError(f"--model={model} has none of {', '.join(_TASKS)}.")
    _require_file(input_path)
    options = PipelineOptions(list(beam_flags))
    standard = options.view_as(StandardOptions)
    if standard.runner is None:
        # Beam's own default would first try to download another one.
        standard.runner = "FnApiRunner"
    _make_folder(output)
    pipeline = beam.Pipeline(options=options)
    build(pipeline, input_path, output, model, signatures)
    pipeline.run().wait_until_finish()
    with FileSystems.open(FileSystems.join(output, _ERRORS)) as file:
        refused = sum(1 for _ in file)
    return sum(1 for _ in _read_lines(input_path)) - refused, refused


def _require_file(input_path: str) -> None:
    if os.path.exists(input_path) and not os.path.isfile(input_path):
        raise UserError(f"--input={input_path} is not a file; name one.")
    with _naming("input", input_path):
        there = FileSystems.exists(input_path)
    if not there:
        raise UserError(f"--input={input_path} does not exist; name a file.")


def _make_folder(output: str) -> None:
    if os.path.exists(output) and not os.path.isdir(output):
        raise UserError(f"--output={output} is not a folder; name one.")
    with _naming("output", output):
        if not FileSystems.exists(output):
            FileSystems.mkdirs(output)


@contextlib.contextmanager
def _naming(flag: str, path: str) -> Iterator[None]:
    """Tells in a sentence what Beam has against a path."""
    try:
        yield
    except (OSError, ValueError) as error:
        # Beam wraps the system's errors.
        of_system = error.__context__
        reason = reason_of(of_system if isinstance(of_system, OSError) else error)
        raise UserError(
            f"--{flag}={path} cannot be used ({reason}); name another."
        ) from None


def main(argv: Sequence[str]) -> int:
    """Runs the command.

    Args:
        argv: As sys.argv.

    Returns:
        The exit status: 0, 1 when lines could not be done or for bad input, 2 for
        bad usage, 130 after Ctrl-C.
    """
    return commands.run_one(
        COMMAND, argv, "python -m export.beam_sample", known_only=True
    )


COMMAND = commands.Command(
    "",
    "Turn a file of requests into images; the flags of Beam's runner may follow.",
    _define,
    _run,
    _check,
)


if __name__ == "__main__":
    # Workers unpickle the steps by this name, not by __main__'s.
    from export import beam_sample

    command_line.set_up_streams()
    sys.exit(beam_sample.main(sys.argv))
