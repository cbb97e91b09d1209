"""What the studio's command refuses, with and without Gradio."""

import importlib.util
import tempfile

import pytest
from helpers import run, sentence


def test_without_gradio_a_sentence_says_what_to_install(capsys, monkeypatch, finished):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name == "gradio" else find(name),
    )
    status, _, error = run(capsys, "studio", f"--run_dir={finished}")
    assert status == 1
    assert "pip install -r requirements-studio.txt" in sentence(error)


def test_what_cannot_be_shown_leaves_no_folder_behind(capsys, monkeypatch, tmp_path):
    pytest.importorskip("gradio")
    # What it sets for Gradio is as it was after the test.
    for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    status, _, error = run(capsys, "studio", f"--run_dir={tmp_path / 'missing'}")
    assert status == 1 and "missing" in sentence(error)
    assert not list(tmp_path.iterdir())


def test_a_run_and_a_server_are_two_models(capsys, finished):
    flags = [f"--run_dir={finished}", "--target=localhost:8500"]
    status, _, error = run(capsys, "studio", *flags)
    assert status == 2 and "choose one" in sentence(error)
