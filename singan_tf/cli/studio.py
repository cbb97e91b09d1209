"""The command that shows the studio in a browser."""

import importlib.util
import os
import pathlib
import shutil
import sys
import tempfile
from typing import Any

from absl import flags

from singan_tf.cli import command_line, interruption, launch
from singan_tf.cli.commands import Call, Command
from singan_tf.errors import UsageError, UserError

_PORT = 7860


def _define(values: flags.FlagValues) -> None:
    command_line.define_path(
        "run_dir", None, "A finished run, the only model to choose.", values
    )
    command_line.define_path(
        "runs_dir",
        "runs",
        "The folder of the runs to choose from, and of those that are trained.",
        values,
    )
    flags.DEFINE_string(
        "target",
        None,
        "The host and gRPC port of a server, in place of runs.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "model", "singan", "The model's name at the server.", flag_values=values
    )
    flags.DEFINE_string(
        "host",
        "localhost",
        "The address to listen at; 0.0.0.0 lets other machines in.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "port", _PORT, "The port to listen at; 0 for a free one.", 0, 65535,
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_boolean("open", False, "Open a browser, too.", flag_values=values)


def _check(call: Call) -> None:
    if call.values.target and call.values.run_dir:
        raise UsageError("--run_dir or --target: choose one.")


def _studio(call: Call) -> None:
    if importlib.util.find_spec("gradio") is None:
        raise UserError("Gradio is missing; pip install -r requirements-studio.txt.")
    values = call.values
    root = pathlib.Path(tempfile.mkdtemp(prefix="singan_studio_"))
    # Gradio reads both when it is loaded: nothing is told to its makers, and files that
    # people upload go when the studio ends. What is below that folder it does not copy.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(root)
    source = None
    try:
        source = _source(values)
        from singan_tf.studio import page as page_lib

        page = page_lib.Page(source, root / "sessions")
        with interruption.stop_signals() as stop:
            try:
                blocks = page_lib.serve(page, values.host, values.port, values.open)
            except OSError:
                raise UserError(
                    f"--host={values.host} --port={values.port} is taken or no address "
                    "of this machine; name another port, or 0 for a free one."
                ) from None
            command_line.say(f"The studio is at {blocks.local_url} (Ctrl-C ends it)")
            sys.stdout.flush()
            stop.wait()
            command_line.say("The studio has ended.")
    finally:
        if source and source.trainings:
            source.trainings.close()
        shutil.rmtree(root, ignore_errors=True)


def _source(values: flags.FlagValues) -> Any:
    """Where the page's models come from."""
    from singan_tf.runs.folder import RunFolder
    from singan_tf.studio import models, sources

    if values.target:
        from export.client import SinGANClient
        from export.served_model import ServedModel

        client = SinGANClient(values.target, values.model)
        return sources.One(ServedModel(client, values.target, values.model))
    if values.run_dir:
        run = RunFolder(pathlib.Path(values.run_dir))
        return sources.One(models.RunModel(run, launch.task))
    return sources.Runs(pathlib.Path(values.runs_dir), _train, launch.task)


def _train(image: str, run_dir: pathlib.Path, preset: str) -> list[str]:
    return launch.train(image, run_dir, [f"--preset={preset}"])


STUDIO = Command(
    "studio",
    "Show all of it in a browser: train, sample, paint, edit, enlarge, animate.",
    _define,
    _studio,
    _check,
)
