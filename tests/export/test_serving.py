import os
import re
import shlex
import stat
import subprocess
import sys

import pytest
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
)
from helpers import ROOT, contents, copied, run, sentence
from serving_helpers import save_toy
from tensorflow_serving.config import model_server_config_pb2

from export import serving
from singan_tf.files import write_json

INT64, BOOL, STRING, MESSAGE = 3, 8, 9, 11


@pytest.fixture(scope="module")
def exported_toy(tmp_path_factory):
    """A run of which only the export is there."""
    run_dir = tmp_path_factory.mktemp("runs") / "my toy, 2"
    save_toy(run_dir / "saved_model" / "1", factor=1)
    return run_dir


def message_types():
    """Of the messages that tensorflow-serving-api leaves out, as published."""
    file = descriptor_pb2.FileDescriptorProto(
        name="serving.proto", package="test", syntax="proto3"
    )

    def add(name, **fields):
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            message.field.add(
                name=field,
                number=number,
                label=1,
                type=MESSAGE if isinstance(kind, str) else kind,
                type_name=f".test.{kind}" if isinstance(kind, str) else None,
            )

    add("Int64Value", value=(1, INT64))
    add(
        "BatchingParameters",
        max_batch_size=(1, "Int64Value"),
        batch_timeout_micros=(2, "Int64Value"),
        max_enqueued_batches=(3, "Int64Value"),
        num_batch_threads=(4, "Int64Value"),
    )
    add("PrometheusConfig", enable=(1, BOOL), path=(2, STRING))
    add("MonitoringConfig", prometheus_config=(1, "PrometheusConfig"))
    add(
        "SSLConfig",
        server_key=(1, STRING),
        server_cert=(2, STRING),
        custom_ca=(3, STRING),
        client_verify=(4, BOOL),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"test.{name}")
        )
        for name in ("BatchingParameters", "MonitoringConfig", "SSLConfig")
    }


def write(capsys, run_dir, *arguments):
    status, out, error = run(
        capsys, "serve", f"--run_dir={run_dir}", "--write_only", *arguments
    )
    assert status == 0, error
    return out


def test_the_files_are_tensorflow_servings(capsys, exported_toy, tmp_path):
    limits = exported_toy / "saved_model" / "1" / "signatures.json"
    limits.write_text('{"limits": {"max_batch": 4}}')
    out = write(capsys, exported_toy, f"--config_dir={tmp_path / 'made'}")
    limits.unlink()
    assert f"Wrote {tmp_path / 'made'}" in out
    models = text_format.Parse(
        (tmp_path / "made" / "models.config").read_text(),
        model_server_config_pb2.ModelServerConfig(),
    )
    (model,) = models.model_config_list.config
    assert model.name == "my_toy_2"
    assert model.base_path == str(exported_toy / "saved_model")
    assert model.model_platform == "tensorflow"
    assert model.model_version_policy.latest.num_versions == 1
    types = message_types()
    batching = text_format.Parse(
        (tmp_path / "made" / "batching.config").read_text(),
        types["BatchingParameters"](),
    )
    assert batching.max_batch_size.value == 4
    assert batching.num_batch_threads.value >= 1
    monitoring = text_format.Parse(
        (tmp_path / "made" / "monitoring.config").read_text(),
        types["MonitoringConfig"](),
    )
    assert monitoring.prometheus_config.enable
    assert monitoring.prometheus_config.path == "/monitoring/prometheus/metrics"
    assert not (tmp_path / "made" / "ssl.config").exists()


def test_names_and_paths_are_quoted(exported_toy, tmp_path):
    base_path = tmp_path / 'a "b" \\ é'
    (base_path / "1").mkdir(parents=True)
    options = serving.Options(str(exported_toy), config_dir=str(tmp_path / "made"))
    files = serving.write_files(options, "name", base_path)
    models = text_format.Parse(
        files.models.read_text("utf-8"), model_server_config_pb2.ModelServerConfig()
    )
    assert models.model_config_list.config[0].base_path == str(base_path)


def test_the_docker_line_has_the_newest_of_the_exports_versions(tmp_path):
    base_path = tmp_path / "saved_model"
    made_by = {"1": {}, "2": {"stack": {"tensorflow": "2.9.1"}}}
    for version, told in made_by.items():
        write_json(base_path / version / "signatures.json", told)
    options = serving.Options(str(tmp_path), config_dir=str(tmp_path / "made"))
    files = serving.write_files(options, "name", base_path)
    line = serving.docker_line(options, base_path, files)
    assert " tensorflow/serving:2.15.1 " in line
    write_json(
        base_path / "10" / "signatures.json", {"stack": {"tensorflow": "2.21.0"}}
    )
    line = serving.docker_line(options, base_path, files)
    assert " tensorflow/serving:2.21.0 " in line


def test_the_docker_line_mounts_the_files_read_only(capsys, exported_toy):
    out = write(capsys, exported_toy, "--port=9000", "--model_name=toy-1.0")
    line = next(line for line in out.splitlines() if line.startswith("docker run"))
    words = shlex.split(line)
    image = words.index("tensorflow/serving:2.15.1")
    before, after = words[:image], words[image + 1 :]
    config_dir = exported_toy / "serving"
    assert "127.0.0.1:9000:8500" in before
    assert "127.0.0.1:8501:8501" in before
    mounts = [word for word in before if word.startswith("type=bind")]
    for mount, folder in zip(mounts, (exported_toy / "saved_model", config_dir)):
        # The comma in the path is Docker's separator.
        assert mount == f'type=bind,"source={folder}","target={folder}",readonly'
    assert after == [
        f"--model_config_file={config_dir / 'models.config'}",
        f"--monitoring_config_file={config_dir / 'monitoring.config'}",
        "--file_system_poll_wait_seconds=1",
    ]
    assert "--enable_batching=true" in out
    assert "requests of different sizes" in out
    assert 'name: "toy-1.0"' in (config_dir / "models.config").read_text()


@pytest.mark.parametrize(
    ("host", "published"),
    [("localhost", "127.0.0.1:"), ("0.0.0.0", "0.0.0.0:"), ("::1", "[::1]:")],
)
def test_docker_publishes_where_the_server_listens(
    capsys, exported_toy, host, published
):
    out = write(capsys, exported_toy, f"--host={host}")
    line = next(line for line in out.splitlines() if line.startswith("docker run"))
    assert f"{published}8500:8500" in shlex.split(line)


def test_tls_reaches_tensorflow_serving_by_a_private_file(
    capsys, exported_toy, tmp_path
):
    for name in ("cert", "key"):
        (tmp_path / f"{name}.pem").write_text(f"--{name}--\nlines\n")
    out = write(
        capsys,
        exported_toy,
        f"--tls_cert={tmp_path / 'cert.pem'}",
        f"--tls_key={tmp_path / 'key.pem'}",
        f"--config_dir={tmp_path / 'made'}",
    )
    path = tmp_path / "made" / "ssl.config"
    assert f"--ssl_config_file={path}" in out
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = text_format.Parse(path.read_text(), message_types()["SSLConfig"]())
    assert found.server_cert == "--cert--\nlines\n"
    assert found.server_key == "--key--\nlines\n"


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        ([], 2, "--run_dir is missing"),
        (["--run_dir=/no/such"], 1, "holds no export; make one with python main.py"),
        (["--tls_cert=a.pem"], 2, "--tls_cert and --tls_key go together"),
        (["--model_name=a/b"], 2, "--model_name=a/b must be of letters"),
        (["--model_name=.."], 2, "--model_name=.. must be of letters"),
        (["--port=70000"], 2, "--port"),
        (["--tls_cert=/no/c.pem", "--tls_key=/no/k.pem"], 1, "--tls_key=/no/k.pem"),
        (["--config_dir=/dev/null/made"], 1, "--config_dir=/dev/null/made cannot be"),
        (["--config_dir=/dev/null"], 1, "--config_dir=/dev/null cannot be made a fold"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(
    capsys, exported_toy, arguments, status, part
):
    if arguments and "--run_dir" not in arguments[0]:
        arguments = [f"--run_dir={exported_toy}", *arguments]
    found, _, error = run(capsys, "serve", "--write_only", *arguments)
    assert found == status
    assert part in sentence(error)


def test_a_model_may_be_called_as_a_link_in_the_working_folder(
    capsys, exported_toy, tmp_path, monkeypatch
):
    (tmp_path / "stable").symlink_to(exported_toy)
    monkeypatch.chdir(tmp_path)
    made = f"--config_dir={tmp_path / 'made'}"
    write(capsys, exported_toy, "--model_name=stable", made)
    assert 'name: "stable"' in (tmp_path / "made" / "models.config").read_text()


def test_a_name_that_is_not_utf8_is_refused(capsys, exported_toy, tmp_path):
    run_dir = copied(exported_toy, tmp_path / os.fsdecode(b"caf\xff"))
    before = contents(run_dir)
    for arguments in ([], ["--write_only"]):
        status, _, error = run(capsys, "serve", f"--run_dir={run_dir}", *arguments)
        assert status == 1 and "its name is not UTF-8; rename" in sentence(error)
    assert contents(run_dir) == before


def test_rest_has_a_port_of_its_own(capsys, exported_toy):
    out = write(capsys, exported_toy, "--port=8501")
    line = next(line for line in out.splitlines() if line.startswith("docker run"))
    words = shlex.split(line)
    published = [after for word, after in zip(words, words[1:]) if word == "--publish"]
    assert published == ["127.0.0.1:8501:8500", "127.0.0.1:8502:8501"]


def test_a_folder_without_saved_model_is_no_export(capsys, tmp_path):
    (tmp_path / "saved_model" / "1").mkdir(parents=True)
    found, _, error = run(capsys, "serve", f"--run_dir={tmp_path}")
    assert found == 1
    assert "holds no export" in sentence(error)


def serve_with_binary(exported_toy, tmp_path, *arguments):
    """Runs the command where something called tensorflow_model_server is found."""
    binary = tmp_path / "bin" / "tensorflow_model_server"
    binary.parent.mkdir()
    binary.write_text('#!/bin/sh\nfor word in "$@"; do echo "word: $word"; done\n')
    binary.chmod(0o755)
    command = [sys.executable, ROOT / "main.py", "serve", f"--run_dir={exported_toy}"]
    return subprocess.run(
        [*command, *arguments],
        env={**os.environ, "PATH": f"{binary.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_binary_is_run_where_it_may_listen_everywhere(exported_toy, tmp_path):
    result = serve_with_binary(exported_toy, tmp_path, "--host=0.0.0.0", "--port=9000")
    assert result.returncode == 0, result.stderr
    words = re.findall("word: (.*)", result.stdout)
    config_dir = exported_toy / "serving"
    assert words == [
        "--port=9000",
        "--rest_api_port=8501",
        f"--model_config_file={config_dir / 'models.config'}",
        f"--monitoring_config_file={config_dir / 'monitoring.config'}",
        "--file_system_poll_wait_seconds=1",
    ]


def test_the_binary_is_not_run_where_it_may_not(exported_toy, tmp_path):
    # An address of no machine ends the local server at once.
    result = serve_with_binary(exported_toy, tmp_path, "--host=192.0.2.1")
    assert result.returncode == 1
    assert "tensorflow_model_server is not run" in result.stderr
    assert "error: Nothing can listen at 192.0.2.1:8500" in result.stderr
    assert "Traceback" not in result.stderr
