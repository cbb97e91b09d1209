"""docs/singan_tf.ipynb: as it is committed, and run from top to bottom."""

import base64
import re
import socket

import notebooks
import numpy as np
import pytest
from helpers import pixels

import main


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def texts(notebook):
    """What the cells printed and answered, in one text."""
    return "\n".join(
        output["text"] if "text" in output else output["data"]["text/plain"]
        for output in outputs(notebook)
    )


def pictures(notebook):
    """The pictures of the outputs, uint8 [H, W, 3] each."""
    files = [each.get("data", {}).get("image/jpeg") for each in outputs(notebook)]
    return [pixels(base64.b64decode(file)) for file in files if file]


def test_it_is_committed_as_one_run_left_it():
    notebook = notebooks.read()
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == [*range(1, len(counts) + 1)]
    kinds = {(output.output_type, output.get("name")) for output in outputs(notebook)}
    assert kinds == {("stream", "stdout"), ("execute_result", None)}
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebooks.NOTEBOOK.stat().st_size < 400_000


def test_it_shows_pictures_and_nobody_s_folders():
    notebook = notebooks.read()
    assert len(pictures(notebook)) == 6
    for picture in pictures(notebook):
        assert picture.std() > 20
    # A path from a root, which would be that of the machine where it ran.
    assert re.findall(r"(?<![\w.])/\w+/[\w/]+", texts(notebook)) == []


def test_its_links_lead_somewhere():
    found = [
        link
        for cell in notebooks.read().cells
        if cell.cell_type == "markdown"
        for link in re.findall(r"\]\(([^)#]+)", cell.source)
    ]
    assert found
    docs = notebooks.NOTEBOOK.parent
    assert [link for link in found if not (docs / link).exists()] == []


@pytest.mark.slow
def test_it_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = notebooks.read()
    sources = [cell.source for cell in notebook.cells]
    run_dir = tmp_path / "run"
    notebooks.execute(notebook, PRESET="smoke", RUN_DIR=str(run_dir))
    assert [cell.source for cell in notebook.cells] == sources
    assert len(pictures(notebook)) == 6
    said = texts(notebook)
    assert "scale 2 step 5/5" in said and "to the last bit: True" in said
    # What it drew is what the command draws.
    arguments = [f"--run_dir={run_dir}", f"--output_dir={tmp_path}/out"]
    arguments += ["--seed=1", "--num_samples=1", "--height=32", "--width=96"]
    assert main.main(["main.py", "sample", *arguments]) == 0
    np.testing.assert_array_equal(
        pixels(tmp_path / "run_wide.png"), pixels(tmp_path / "out" / "seed_000001.png")
    )
    # Nobody is left behind.
    log = (tmp_path / "run_server.log").read_text()
    (port,) = re.findall(r"Answering at 127\.0\.0\.1:(\d+)", log)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port)))
