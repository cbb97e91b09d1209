import shutil

import pytest

gradio = pytest.importorskip("gradio", reason="pip install -r requirements-studio.txt")


@pytest.fixture
def runs_dir(finished, tmp_path):
    """A folder of runs with one that is finished."""
    shutil.copytree(finished, tmp_path / "runs" / "rocket")
    return tmp_path / "runs"
