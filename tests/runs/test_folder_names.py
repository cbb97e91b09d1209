"""Folders of any name: TensorFlow takes some of them for patterns, others for none."""

import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers import ROOT, SMOKE, copied, pixels, run
from serving_helpers import NAME, Client

from export import local_server, verify, versions
from export.pipeline import Pipeline

# Read as a pattern, it is another name than the one that was written.
ODD = "[1] back\\slash"


@pytest.mark.slow
def test_a_photograph_of_any_name_trains_and_goes_through_every_command(
    capsys, tmp_path, monkeypatch, photograph
):
    monkeypatch.chdir(tmp_path)
    shutil.copy(photograph, f"{ODD}.png")
    brief = [SMOKE, "--num_scales=2", "--steps=2", "--checkpoint_seconds=0"]
    status, _, error = run(capsys, "train", f"--image={ODD}.png", *brief)
    assert status == 0, error
    run_dir = pathlib.Path("runs", ODD)
    assert list((run_dir / "events").iterdir())
    # As after a power cut in the middle of the second scale.
    (run_dir / "samples.png").unlink()
    (run_dir / "scales" / "01" / "state.json").unlink()
    status, _, error = run(capsys, "train", f"--image={ODD}.png", *brief)
    assert status == 0, error
    where = f"--run_dir={run_dir}"
    for command, *arguments in (
        ("sample", "--num_samples=1"),
        ("paint", f"--input={ODD}.png", "--quantize", "--injection_scale=1"),
        ("evaluate", "--num_samples=2"),
        ("animate", "--frames=2"),
    ):
        status, _, error = run(capsys, command, where, *arguments)
        assert status == 0, error
        assert pathlib.Path("outputs", ODD, command, "call.json").exists()
    status, _, error = run(capsys, "report", where)
    assert status == 0, error


@pytest.mark.slow
def test_an_export_of_any_name_is_verified_served_and_embedded(
    capsys, tmp_path, finished, sampled
):
    run_dir = copied(finished, tmp_path / ODD)
    status, _, error = run(capsys, "export", f"--run_dir={run_dir}")
    assert status == 0, error
    base = run_dir / "saved_model"
    verify.check(base / "1")
    request = {"seed": [3, 4], "height": 44, "width": 66}
    np.testing.assert_array_equal(
        Pipeline(str(base), "sample")(request)["image"], sampled
    )
    settings = local_server.Settings(host="localhost", port=0)
    server = local_server.LocalServer(versions.Versions(NAME, base), settings)
    server.start()
    try:
        client = Client(server.port)
        assert list(client.states()) == [1]
        client.channel.close()
    finally:
        server.stop()
    status, _, _ = run(capsys, "serve", f"--run_dir={run_dir}", "--write_only")
    assert status == 0


@pytest.mark.slow
def test_a_fleet_trains_photographs_of_any_name(capsys, tmp_path, photograph):
    shutil.copy(photograph, tmp_path / f"{ODD}.png")
    status, out, error = run(
        capsys,
        "fleet",
        f"--images={tmp_path}/*.png",
        f"--runs_dir={tmp_path / 'runs'}",
        SMOKE,
        "--num_scales=2",
        "--patch_scales=2",
    )
    assert status == 0, error + out
    folder = tmp_path / "runs" / f"{ODD}.png"
    output = tmp_path / "out"
    arguments = [f"--run_dir={folder}", f"--output_dir={output}", "--num_samples=1"]
    status, _, error = run(capsys, "sample", *arguments)
    assert status == 0, error
    assert pixels(output / "seed_000000.png").any()


@pytest.mark.slow
def test_bytes_that_are_no_text_in_a_locale_without_letters(tmp_path, photograph):
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    run_dir = tmp_path / os.fsdecode(b"caf\xc3\xa9 \xff")
    process = subprocess.run(
        [
            sys.executable,
            ROOT / "main.py",
            "train",
            f"--image={photograph}",
            f"--run_dir={run_dir}",
            SMOKE,
            "--num_scales=2",
            "--patch_scales=2",
        ],
        env={**os.environ, **plain},
        capture_output=True,
    )
    assert process.returncode == 0, process.stderr
    # Shown as escapes: this terminal has no such letters.
    assert b"caf" in process.stdout and process.stdout.isascii()
    assert pixels(run_dir / "samples.png").any()
    assert (run_dir / "report" / "index.html").exists()
