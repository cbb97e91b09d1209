"""Runs docs/singan_tf.ipynb.

    python tests/notebooks.py

trains its run anew, and writes the notebook with the pictures that are committed.
"""

import pathlib
import shutil

import nbformat
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "docs" / "singan_tf.ipynb"


def read():
    return nbformat.read(NOTEBOOK, as_version=4)


def execute(notebook, **parameters):
    """Runs all cells as from Jupyter, which starts in the notebook's folder.

    Args:
        notebook: As read; its outputs become those of this run.
        parameters: Values of the cell tagged "parameters", set in one after it, which
            is taken out again.

    Raises:
        CellExecutionError: if a cell fails; the later ones are not run.
    """
    lines = [f"{name} = {value!r}" for name, value in parameters.items()]
    place = [
        index
        for index, cell in enumerate(notebook.cells)
        if "parameters" in cell.metadata.get("tags", [])
    ]
    assert len(place) == 1
    if lines:
        chosen = nbformat.v4.new_code_cell("\n".join(lines))
        notebook.cells.insert(place[0] + 1, chosen)
    NotebookClient(
        notebook,
        timeout=1800,
        kernel_name="python3",
        coalesce_streams=True,
        record_timing=False,
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
    ).execute()
    if lines:
        notebook.cells.remove(chosen)


def refresh():
    """Trains the notebook's run anew, and writes the notebook with what it shows."""
    notebook = read()
    (run_dir,) = [
        line.split('"')[1]
        for cell in notebook.cells
        for line in cell.source.splitlines()
        if line.startswith("RUN_DIR = ")
    ]
    shutil.rmtree(ROOT / run_dir, ignore_errors=True)
    execute(notebook)
    # Otherwise each machine's own, which nobody needs.
    notebook.metadata.language_info = {"name": "python"}
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    refresh()
