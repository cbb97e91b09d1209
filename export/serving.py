"""Serving an export over gRPC: TensorFlow Serving's files, and a server for them.

The files and the printed docker line are for TensorFlow Serving. Where its binary,
tensorflow_model_server, is on the PATH it is run; elsewhere local_server.py answers.
"""

import csv
import io
import logging
import os
import pathlib
import re
import shlex
import shutil
from typing import NamedTuple, Optional

from export import layout
from singan_tf.cli import command_line, interruption
from singan_tf.errors import UsageError, UserError
from singan_tf.files import is_plain, read_json, write_text

logger = logging.getLogger(__name__)

IMAGE = "tensorflow/serving"
# Of exports that do not tell what made them, and of the files in deploy/.
OLDEST = "2.15.1"
BINARY = "tensorflow_model_server"
# What it listens on; it has no flag to choose.
BINARY_HOST = "0.0.0.0"
REST_PORT = 8501
# With the defaults of an export that says nothing of its limits.
_BATCH = 8
_MONITORING = """\
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""
BATCHING_NOTE = (
    "The server can batch requests with --enable_batching=true "
    "--batching_parameters_file={path}, for clients of one image size that send every "
    "input: requests of different sizes, or that leave inputs out, fail when they meet "
    "in a batch."
)


class Options(NamedTuple):
    """The flags of main.py serve.

    Attributes:
        run_dir: A run with an export.
        model_name: What clients call the model; None for the run's name.
        host: Name or address to listen on.
        port: 0 for any that is free.
        workers: Requests that the local server runs at a time; None for one a core.
        max_message_mb: Of a request or an answer of the local server.
        tls_cert: PEM file; both or neither.
        tls_key: PEM file.
        config_dir: Where the files go; None for RUN/serving.
        write_only: Run no server.
    """

    run_dir: str
    model_name: Optional[str] = None
    host: str = "127.0.0.1"
    port: int = 8500
    workers: Optional[int] = None
    max_message_mb: int = 2047
    tls_cert: Optional[str] = None
    tls_key: Optional[str] = None
    config_dir: Optional[str] = None
    write_only: bool = False


class Files(NamedTuple):
    """TensorFlow Serving's configuration files.

    Attributes:
        models: models.config, a ModelServerConfig.
        batching: batching.config, BatchingParameters.
        monitoring: monitoring.config, a MonitoringConfig.
        tls: ssl.config, an SSLConfig that holds the private key; or None.
    """

    models: pathlib.Path
    batching: pathlib.Path
    monitoring: pathlib.Path
    tls: Optional[pathlib.Path]


def serve(options: Options) -> None:
    """Writes the files, prints the docker line, and serves until a signal.

    Args:
        options: From the command line.

    Raises:
        UserError: There is no export, or the server cannot start.
        UsageError: Flags that do not go together.
    """
    if bool(options.tls_cert) != bool(options.tls_key):
        raise UsageError("--tls_cert and --tls_key go together: give both or neither.")
    name = options.model_name or safe_name(options.run_dir)
    # Of dots alone, it would be a way through folders in a URL.
    if not re.fullmatch(r"\.*[A-Za-z0-9_-][A-Za-z0-9_.-]*", name):
        raise UsageError(
            f"--model_name={name} must be of letters, digits, and _ - . only, and not "
            "of dots alone."
        )
    base_path = pathlib.Path(options.run_dir, "saved_model").absolute()
    if not any(map(layout.holds_model, layout.versions(base_path).values())):
        raise UserError(
            f"{base_path} holds no export; make one with python main.py export "
            f"--run_dir={shlex.quote(options.run_dir)}"
        )
    _require_utf8(base_path)
    files = write_files(options, name, base_path)
    command_line.say(f"Wrote {files.models.parent}")
    plain = is_plain(base_path)
    if not plain:
        logger.info(
            "TensorFlow Serving cannot load from %s: it takes brackets, backslashes "
            "and wildcards in a path for a pattern. Rename the folder for it.",
            base_path,
        )
    print(f"With Docker:\n{docker_line(options, base_path, files)}")
    print(BATCHING_NOTE.format(path=shlex.quote(str(files.batching))), flush=True)
    if options.write_only:
        return
    binary = shutil.which(BINARY) if plain else None
    if binary and options.host == BINARY_HOST:
        ports = [f"--port={options.port}", f"--rest_api_port={_rest_port(options)}"]
        command = [binary, *ports, *_server_flags(files)]
        print(shlex.join(command), flush=True)
        os.execv(binary, command)
    if binary:
        logger.info(
            "%s is not run, because it listens on every interface: --host=%s allows "
            "that.",
            BINARY,
            BINARY_HOST,
        )
    _serve_locally(options, name, base_path)


def _require_utf8(base_path: pathlib.Path) -> None:
    """Refuses a path that the server's files, of protobuf's text, cannot hold."""
    try:
        str(base_path).encode("utf-8")
    except UnicodeEncodeError:
        raise UserError(
            f"{base_path} cannot be served, because its name is not UTF-8; rename the "
            "folder."
        ) from None


def _rest_port(options: Options) -> int:
    """Where TensorFlow Serving answers REST, beside the port for gRPC."""
    return REST_PORT + 1 if options.port == REST_PORT else REST_PORT


def safe_name(run_dir: str) -> str:
    """A model's name that URLs and files can hold, from that of a run.

    Args:
        run_dir: Path of the run.

    Returns:
        Letters, digits, underscores, hyphens and dots.
    """
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", pathlib.Path(run_dir).resolve().name)


def write_files(options: Options, name: str, base_path: pathlib.Path) -> Files:
    """Writes TensorFlow Serving's configuration.

    Args:
        options: Of these config_dir and the PEM files matter.
        name: The model's.
        base_path: Holds its versions.

    Returns:
        Paths of the files.

    Raises:
        UserError: A PEM file cannot be read, or a file cannot be written.
    """
    config_dir = pathlib.Path(
        options.config_dir or pathlib.Path(options.run_dir, "serving")
    ).absolute()
    try:
        config_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--config_dir={config_dir} cannot be made a folder ({error.strerror}); "
            "name another."
        ) from None
    files = Files(
        config_dir / "models.config",
        config_dir / "batching.config",
        config_dir / "monitoring.config",
        config_dir / "ssl.config" if options.tls_cert else None,
    )
    write_text(files.models, _models_config(name, base_path))
    write_text(files.batching, _batching_config(base_path))
    write_text(files.monitoring, _MONITORING)
    if files.tls:
        write_text(files.tls, _tls_config(options), mode=0o600)
    return files


def _models_config(name: str, base_path: pathlib.Path) -> str:
    return f"""\
model_config_list {{
  config {{
    name: {_quoted(name)}
    base_path: {_quoted(str(base_path))}
    model_platform: "tensorflow"
    # For a canary or a way back: specific {{ versions: 1 versions: 2 }}, and labels.
    model_version_policy {{
      latest {{
        num_versions: 1
      }}
    }}
  }}
}}
"""


def _batching_config(base_path: pathlib.Path) -> str:
    newest = layout.latest(base_path)
    try:
        batch = newest and layout.description(newest).max_batch
    except layout.WrongFormat as error:
        raise UserError(str(error)) from None
    return f"""\
# Larger batches than the model takes would be refused.
max_batch_size {{ value: {batch or _BATCH} }}
batch_timeout_micros {{ value: 2000 }}
max_enqueued_batches {{ value: 64 }}
num_batch_threads {{ value: {_cores()} }}
"""


def _tls_config(options: Options) -> str:
    key = _read_pem("tls_key", options.tls_key)
    cert = _read_pem("tls_cert", options.tls_cert)
    return f"""\
server_key: {_quoted(key)}
server_cert: {_quoted(cert)}
client_verify: false
"""


def docker_line(options: Options, base_path: pathlib.Path, files: Files) -> str:
    """The command that serves the files in TensorFlow Serving's container.

    Args:
        options: Of these host and port matter.
        base_path: Holds the model's versions.
        files: As written.

    Returns:
        A line for a shell. Folders keep their paths inside the container, so that the
        same files serve the binary outside.
    """
    # Docker wants an address.
    host = "127.0.0.1" if options.host == "localhost" else options.host
    host = f"[{host}]" if ":" in host else host
    command = ["docker", "run", "--rm"]
    for port, inside in ((options.port, 8500), (_rest_port(options), REST_PORT)):
        command += ["--publish", f"{host}:{port}:{inside}"]
    for folder in (base_path, files.models.parent):
        mount = io.StringIO()
        fields = "type=bind", f"source={folder}", f"target={folder}", "readonly"
        csv.writer(mount, lineterminator="").writerow(fields)
        command += ["--mount", mount.getvalue()]
    # The container's own entry point sets both ports.
    image = f"{IMAGE}:{_tensorflow_of(base_path)}"
    return shlex.join([*command, image, *_server_flags(files)])


def _tensorflow_of(base_path: pathlib.Path) -> str:
    """The newest version of TensorFlow that made one of the exports."""
    found = [OLDEST]
    for folder in layout.versions(base_path).values():
        told = read_json(folder / layout.DESCRIPTION) or {}
        found.append(told.get("stack", {}).get("tensorflow", OLDEST))
    return max(found, key=lambda version: [*map(int, version.split(".")[:2])])


def _server_flags(files: Files) -> list[str]:
    """Of tensorflow_model_server, less its ports."""
    flags = [
        f"--model_config_file={files.models}",
        f"--monitoring_config_file={files.monitoring}",
        "--file_system_poll_wait_seconds=1",
    ]
    if files.tls:
        flags.append(f"--ssl_config_file={files.tls}")
    return flags


def _serve_locally(options: Options, name: str, base_path: pathlib.Path) -> None:
    logger.info(
        "This server is for development and small installations; for others there is "
        "TensorFlow Serving, by the docker line above."
    )
    # It says that loading a SavedModel is deprecated, and where from it restores.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    from export import local_server, versions

    settings = local_server.Settings(
        host=options.host,
        port=options.port,
        workers=options.workers or _cores(),
        max_message_bytes=min(options.max_message_mb << 20, 2**31 - 1),
        tls_cert=options.tls_cert and pathlib.Path(options.tls_cert),
        tls_key=options.tls_key and pathlib.Path(options.tls_key),
    )
    with interruption.stop_signals() as stop:
        server = local_server.LocalServer(versions.Versions(name, base_path), settings)
        server.start()
        stop.wait()
        logger.info("Stopping; requests that run may finish.")
        server.stop()


def _cores() -> int:
    """As many as this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _read_pem(flag: str, path: str) -> str:
    try:
        return pathlib.Path(path).read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not ASCII"
        raise UserError(
            f"--{flag}={path} cannot be read as PEM ({reason}); name another file."
        ) from None


def _quoted(text: str) -> str:
    """A string of protobuf's text format."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
