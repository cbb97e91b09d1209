"""What docs/serving.md shows is run as it stands, where this machine can."""

import base64
import http.server
import json
import re
import shutil
import subprocess
import textwrap
import threading

import numpy as np
import pytest
from helpers import ROOT, pixels

from export.pipeline import Pipeline, read_signatures

TEXT = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def indented(first):
    """The indented block that begins with a text."""
    start = TEXT.index(f"    {first}")
    lines = TEXT[start:].splitlines()
    block = []
    for line in lines:
        if line.strip() and not line.startswith("    "):
            break
        block.append(line)
    return textwrap.dedent("\n".join(block))


@pytest.fixture(scope="module")
def rest(exported):
    """TensorFlow Serving's JSON, as strict about inputs as it is; its port."""
    pipeline = Pipeline(exported)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802
            self.answer({})

        def do_POST(self):  # noqa: N802
            assert self.path == "/v1/models/singan:predict"
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name, inputs = body["signature_name"], body["inputs"]
            assert set(inputs) == set(pipeline.signatures[name])
            for key, rows in inputs.items():
                inputs[key] = [
                    base64.b64decode(row["b64"])
                    if isinstance(row, dict)
                    else row.encode()
                    if isinstance(row, str)
                    else row
                    for row in rows
                ]
            (file,) = pipeline(inputs, name)["image_bytes"]
            self.answer({"outputs": [{"b64": base64.b64encode(file).decode()}]})

        def answer(self, value):
            content = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


@pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("bash")), reason="needs curl and bash"
)
def test_the_curl_lines_make_images(rest, exported, tmp_path):
    script = indented("curl localhost:8501").replace(":8501", f":{rest}")
    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=120,
    )
    pipeline = Pipeline(exported, "sample")
    expected = pipeline({"seed": 1, "height": 96, "width": 128})["image"]
    np.testing.assert_array_equal(pixels(tmp_path / "sample.png"), expected[0])
    larger = pipeline({"image": expected, "factor": 2.0}, "super_resolve")["image"]
    np.testing.assert_array_equal(pixels(tmp_path / "large.png"), larger[0])
    edited = pipeline({"image": expected, "injection_scale": 2}, "edit")["image"]
    np.testing.assert_array_equal(pixels(tmp_path / "edited.png"), edited[0])
    (photograph,) = pipeline({"seed": 0}, "reconstruct")["image"]
    np.testing.assert_array_equal(pixels(tmp_path / "photograph.png"), photograph)


def test_the_table_names_every_input_and_default(exported):
    """Against the model itself; a name that is not in the table is not documented."""
    for name, inputs in read_signatures(str(exported)).items():
        (row,) = re.findall(rf"^\| .*`{name.replace('_png', '')}`.*$", TEXT, re.M)
        rows = row + "".join(re.findall(r"^\| each with `_png`.*$", TEXT, re.M))
        for key in inputs:
            assert f"`{key}`" in rows, (name, key)


def test_the_python_lines_run(exported):
    names = {}
    for block in PYTHON:
        # A server's, other frameworks', and Beam's, which has its own test.
        if not re.search("SinGANClient|mapInPandas|apache_beam", block):
            exec(block.replace("runs/demo/saved_model", str(exported)), names)
    assert next(iter(names["images"]))["image"].shape == (4, 32, 48, 3)
    assert names["photograph"].shape == (1, 32, 48, 3)
    assert names["model"](np.int64([1, 2])).shape == (2, 32, 48, 3)


def test_the_lines_for_beam_are_requests(exported):
    beam_sample = pytest.importorskip(
        "export.beam_sample", reason="needs requirements-beam.txt"
    )
    signatures = read_signatures(str(exported))
    lines = indented('{"id": "wide"').strip().splitlines()
    requests = [beam_sample.parse(line.encode(), 1, signatures) for line in lines]
    assert [request.id for request in requests] == [
        "wide",
        "large",
        "redrawn",
        "photograph",
    ]
