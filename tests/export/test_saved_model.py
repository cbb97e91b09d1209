import json
import os
import pathlib
import shutil
import sys

import numpy as np
import pytest
import tensorflow as tf
from helpers import contents, copied, run, sentence

from export import layout, saved_model, signatures, verify
from singan_tf import files, stack
from singan_tf.model.singan import SinGAN
from singan_tf.runs import loading
from singan_tf.runs.folder import RunFolder

SIGNATURES = {"serving_default", "sample", "super_resolve", "edit", "reconstruct"}
SIGNATURES |= {f"{name}_png" for name in SIGNATURES - {"serving_default"}}


@pytest.fixture
def cheap(monkeypatch):
    """Exports without the model: for what surrounds the writing of it."""

    def write(folder, singan, name, limits):
        folder.mkdir()
        (folder / "saved_model.pb").write_text("model")

    monkeypatch.setattr(saved_model, "_write", write)


def visible(folder):
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))


def test_a_version_holds_what_a_server_and_a_person_need(exported):
    files = {str(path) for path in contents(exported)}
    assert files == {
        "saved_model.pb",
        "fingerprint.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
        "assets.extra/tf_serving_warmup_requests",
        "signatures.json",
        "golden.npz",
    }
    assert visible(exported.parent) == [exported.name] == ["1"]
    # Other users, such as the server's in a container, may read it.
    assert exported.stat().st_mode & 0o055 == exported.parent.stat().st_mode & 0o055


def test_signatures_json_tells_what_the_graph_has(exported, finished):
    singan, _ = loading.load(RunFolder(finished))
    told = json.loads((exported / "signatures.json").read_text())
    everything = told.pop("signatures")
    assert told.pop("stack") == stack.versions()
    assert told == {
        "format": 1,
        "model": "rocket",
        "size": list(singan.sizes[-1]),
        "channels": 3,
        "scales": 3,
        "limits": {"max_pixels": 2**16, "max_batch": 8},
    }
    graph = verify.read_meta_graph(exported).signature_def
    assert set(everything) == SIGNATURES == {n for n in graph if n[0] != "_"}
    for name, signature in everything.items():
        assert signature["doc"].endswith(".")
        for kind in ("inputs", "outputs"):
            infos = getattr(graph[name], kind)
            assert set(infos) == set(signature[kind])
            for key, described in signature[kind].items():
                shape = tf.TensorShape(infos[key].tensor_shape).as_list()
                assert described["shape"] == shape
                assert described["dtype"] == tf.as_dtype(infos[key].dtype).name
                assert described["doc"].endswith(".")
    assert {n for n in everything if "rows_alone" not in everything[n]} == {
        "reconstruct",
        "reconstruct_png",
    }
    assert everything["serving_default"]["same_as"] == "sample"
    height, width = singan.sizes[-1]
    defaults = {
        name: {key: value["default"] for key, value in signature["inputs"].items()}
        for name, signature in everything.items()
    }
    assert defaults["sample"] == defaults["sample_png"] == defaults["serving_default"]
    assert defaults["sample"] == {
        "seed": None,
        "start_scale": 0,
        "height": height,
        "width": width,
        "noise_scale": 1.0,
    }
    assert defaults["super_resolve"] == {"image": None, "factor": 4.0, "seed": 0}
    assert defaults["edit"] == {
        "image": None,
        "injection_scale": None,
        "mask": 255,
        "seed": 0,
    }
    assert defaults["edit_png"]["mask_bytes"] == ""
    assert defaults["reconstruct"] == {"seed": None}


def test_weights_are_stored_once_and_nothing_else(exported, finished):
    singan, _ = loading.load(RunFolder(finished))
    weights = sum(int(np.prod(v.shape)) * 4 for v in singan.variables)
    reader = tf.train.load_checkpoint(str(exported / "variables" / "variables"))
    shapes = reader.get_variable_to_shape_map()
    stored = sum(int(np.prod(s)) * 4 for n, s in shapes.items() if n[0] != "_")
    assert stored == weights
    data = exported / "variables" / "variables.data-00000-of-00001"
    objects = verify.read_meta_graph(exported).object_graph_def
    assert data.stat().st_size < weights * 1.1 + objects.ByteSize() + 2048
    assert not any("optimizer" in name.lower() for name in shapes)


def test_no_object_of_keras_is_inside(exported):
    nodes = verify.read_meta_graph(exported).object_graph_def.nodes
    kinds = {node.WhichOneof("kind") for node in nodes}
    assert kinds <= {"user_object", "variable", "function", "bare_concrete_function"}
    names = {node.user_object.identifier for node in nodes} - {""}
    assert names == {"_generic_user_object", "signature_map", "trackable_list_wrapper"}


@pytest.mark.slow
def test_grey_pyramids_of_one_scale_have_no_edit(make_stage, tmp_path):
    singan = SinGAN([(12, 15)], 1)
    singan.stages.append(make_stage(0, 1.0, channels=1))
    singan.set_reconstruction_noise(0)
    limits = signatures.Limits(2**12, 2)
    folder = tmp_path / "1"
    saved_model._write(folder, singan, "grey", limits)
    told = json.loads((folder / "signatures.json").read_text())
    assert set(told["signatures"]) == SIGNATURES - {"edit", "edit_png"}
    assert told["signatures"]["sample"]["outputs"]["image"]["shape"][-1] == 1
    verify.check(folder)


def test_versions_count_on_from_the_highest(capsys, cheap, finished, tmp_path):
    run_dir = copied(finished, tmp_path / "run")
    before = contents(run_dir)
    for arguments, version in (
        ([], 1),
        (["--version=7"], 7),
        (["--version=3"], 3),
        ([], 8),
    ):
        status, out, _ = run(capsys, "export", f"--run_dir={run_dir}", *arguments)
        assert status == 0
        assert out.splitlines()[0] == f"Wrote {run_dir / 'saved_model' / str(version)}"
    base = run_dir / "saved_model"
    assert visible(base) == ["1", "3", "7", "8"]
    status, _, error = run(capsys, "export", f"--run_dir={run_dir}", "--version=3")
    assert status == 1 and "Version 3 is already in" in sentence(error)
    shutil.rmtree(base)
    assert contents(run_dir) == before


def test_a_failed_export_leaves_nothing(capsys, cheap, finished, tmp_path, monkeypatch):
    run_dir = copied(finished, tmp_path / "run")
    run(capsys, "export", f"--run_dir={run_dir}")
    before = contents(run_dir)
    write = saved_model._write

    def break_off(*arguments):
        write(*arguments)
        assert visible(run_dir / "saved_model") == ["1"]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saved_model, "_write", break_off)
    status, _, error = run(capsys, "export", f"--run_dir={run_dir}")
    assert status == 1 and "No space left on device" in sentence(error)
    assert contents(run_dir) == before
    assert "free some space" in error

    def fail(*arguments):
        raise FileNotFoundError(2, "No such file or directory", "a fault of ours")

    monkeypatch.setattr(saved_model, "_write", fail)
    with pytest.raises(FileNotFoundError):
        run(capsys, "export", f"--run_dir={run_dir}")

    def break_down(*arguments):
        node = "{{function_node __wrapped__SaveV2}}"
        raise tf.errors.UnknownError(None, None, f"{node} a; Input/output error [Op:S]")

    monkeypatch.setattr(saved_model, "_write", break_down)
    status, _, error = run(capsys, "export", f"--run_dir={run_dir}")
    assert status == 1 and "(Input/output error); mend that" in sentence(error)
    assert contents(run_dir) == before
    # As does a killed one, once the next has come.
    left = run_dir / "saved_model" / ".2.tmp"
    left.mkdir()
    (left / "half").write_text("")
    monkeypatch.setattr(saved_model, "_write", write)
    assert run(capsys, "export", f"--run_dir={run_dir}")[0] == 0
    assert visible(run_dir / "saved_model") == ["1", "2"]
    assert visible(run_dir / "saved_model" / "2") == ["saved_model.pb"]


def test_a_run_may_have_a_name_that_is_not_utf8(
    capsys, finished, tmp_path, monkeypatch
):
    def write(folder, singan, name, limits):
        folder.mkdir()
        (folder / "saved_model.pb").write_text("model")
        request = layout.Request("sample", {"seed": np.array([0])}, {})
        saved_model._write_warmup(folder / layout.WARMUP, name, [request])

    monkeypatch.setattr(saved_model, "_write", write)
    run_dir = copied(finished, tmp_path / os.fsdecode(b"caf\xff"))
    status, out, error = run(capsys, "export", f"--run_dir={run_dir}")
    assert (status, error) == (0, "")
    assert visible(run_dir / "saved_model") == ["1"]
    with files.plain_path(run_dir / "saved_model" / "1") as plain:
        (log,) = verify._read_warmup(pathlib.Path(plain))
    assert log.model_spec.name == r"caf\udcff"


def test_a_version_is_on_the_disk_before_it_has_its_name(
    cheap, finished, tmp_path, monkeypatch
):
    run_dir = copied(finished, tmp_path / "run")
    base = run_dir / "saved_model"
    events, rename = [], pathlib.Path.rename
    monkeypatch.setattr(files, "sync", lambda path: events.append(path))
    monkeypatch.setattr(
        pathlib.Path, "rename", lambda path, to: events.append(to) or rename(path, to)
    )
    saved_model.export(RunFolder(run_dir), None, signatures.Limits(2**16, 8))
    written = base / ".1.tmp"
    assert events[-4:] == [written / "saved_model.pb", written, base / "1", base]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--max_pixels=100"], "max_pixels=100 must be at least"),
        (["--max_pixels=0"], "--max_pixels"),
        (["--max_batch=0"], "--max_batch"),
        (["--version=0"], "--version"),
    ],
)
def test_bad_settings_are_refused(capsys, finished, arguments, part):
    before = contents(finished)
    status, _, error = run(capsys, "export", f"--run_dir={finished}", *arguments)
    assert status in (1, 2) and part in sentence(error)
    assert contents(finished) == before


def test_without_the_packages_of_onnx_nothing_begins(capsys, finished, monkeypatch):
    before = contents(finished)
    for name in ("onnx", "tf2onnx"):
        monkeypatch.setitem(sys.modules, name, None)
    status, _, error = run(capsys, "export", f"--run_dir={finished}", "--onnx")
    assert status == 1
    assert "onnx is missing; pip install -r requirements-onnx.txt" in sentence(error)
    assert contents(finished) == before


def test_only_a_finished_run_is_exported(capsys, finished, tmp_path):
    status, _, error = run(capsys, "export", f"--run_dir={tmp_path / 'none'}")
    assert status == 1 and "There is no run" in sentence(error)
    run_dir = copied(finished, tmp_path / "run")
    (run_dir / "scales" / "02" / "state.json").unlink()
    status, _, error = run(capsys, "export", f"--run_dir={run_dir}")
    assert status == 1 and "is not finished" in sentence(error)
    status, _, error = run(capsys, "export")
    assert status == 2 and "--run_dir is missing" in sentence(error)
