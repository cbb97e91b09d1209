"""The commands around an export: export, verify, serve. Only here export is known."""

import pathlib

from absl import flags

from singan_tf import config as config_lib
from singan_tf import files
from singan_tf.cli import command_line
from singan_tf.cli.commands import Call, Command
from singan_tf.errors import UserError


def _define_export(values: flags.FlagValues) -> None:
    _define_version(
        values,
        "The version of the SavedModel; by default one more than the highest.",
    )
    flags.DEFINE_integer(
        "max_pixels",
        2**22,
        "The most pixels of an image that a request may give or ask for.",
        1,
        config_lib.MAX_PIXELS,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "max_batch", 32, "The most rows of a request.", 1, 1024, flag_values=values
    )
    flags.DEFINE_boolean(
        "onnx",
        False,
        "Write ONNX files beside the SavedModel, for images of the photograph's size; "
        "needs requirements-onnx.txt.",
        flag_values=values,
    )


def _define_verify(values: flags.FlagValues) -> None:
    _define_version(values, "The version of the SavedModel; by default the highest.")


def _define_version(values: flags.FlagValues, meaning: str) -> None:
    command_line.define_path("run_dir", None, "The folder of a finished run.", values)
    flags.DEFINE_integer("version", None, meaning, 1, 2**31 - 1, flag_values=values)


def _export(call: Call) -> None:
    from export import onnx_model, saved_model, signatures
    from singan_tf.runs.folder import RunFolder

    values = call.values
    limits = signatures.Limits(values.max_pixels, values.max_batch)
    run = RunFolder(pathlib.Path(values.run_dir))
    folder = saved_model.export(run, values.version, limits, values.onnx)
    command_line.say(f"Wrote {folder}")
    if values.onnx:
        written = folder / onnx_model.FOLDER
        told = files.read_json(written / onnx_model.DESCRIPTION)
        command_line.say(f"Wrote {written}: {', '.join(told['signatures'])}")
        for name, reason in told["left_out"].items():
            command_line.say(f"{name} is not there: {reason}.")


def _verify(call: Call) -> None:
    from export import layout
    from export import verify as verification
    from singan_tf.runs.folder import RunFolder

    version = call.values.version
    base = RunFolder(pathlib.Path(call.values.run_dir)).exports
    there = layout.versions(base)
    if not there or version not in (None, *there):
        what = f"version {version}" if version else "export"
        number = [f"--version={version}"] if version else []
        export = call.other("export", f"--run_dir={call.values.run_dir}", *number)
        raise UserError(f"There is no {what} in {base}; {export} makes one.")
    folder = there[version or max(there)]
    try:
        verification.verify(folder)
    except verification.Failed as error:
        raise UserError(str(error)) from None
    command_line.say(f"{folder} is as it was exported.")


def _define_serve(values: flags.FlagValues) -> None:
    for name, meaning in (
        ("run_dir", "The folder of an exported run."),
        ("tls_cert", "The PEM file of a certificate chain, to encrypt; or none."),
        ("tls_key", "The PEM file of the certificate's private key."),
        ("config_dir", "The folder for the server's files; RUN/serving by default."),
    ):
        command_line.define_path(name, None, meaning, values)
    for name, default, meaning in (
        ("model_name", None, "The model's name for clients; by default the run's."),
        ("host", "127.0.0.1", "The address to listen at; 0.0.0.0 for all interfaces."),
    ):
        flags.DEFINE_string(name, default, meaning, flag_values=values)
    flags.DEFINE_integer(
        "port",
        8500,
        "The port to listen at; 0 for any that is free.",
        0,
        65535,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "workers",
        None,
        "The number of requests that the local server runs at a time; by default one "
        "a core.",
        1,
        256,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "max_message_mb",
        2047,
        "The most MiB of a request and of an answer of the local server.",
        1,
        2047,
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "write_only",
        False,
        "Write the files and print the docker line; run no server.",
        flag_values=values,
    )


def _serve(call: Call) -> None:
    from export import serving

    fields = serving.Options._fields
    serving.serve(serving.Options._make(call.values[name].value for name in fields))


EXPORT = Command(
    "export",
    "Write a SavedModel for TensorFlow Serving and pipelines.",
    _define_export,
    _export,
    lambda call: call.require("run_dir"),
)
VERIFY = Command(
    "verify",
    "Load an export as a server does, and compare its answers.",
    _define_verify,
    _verify,
    lambda call: call.require("run_dir"),
)
SERVE = Command(
    "serve",
    "Answer requests for an exported run over gRPC, as TensorFlow Serving does.",
    _define_serve,
    _serve,
    lambda call: call.require("run_dir"),
)
