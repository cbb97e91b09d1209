import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from helpers import ROOT, contents, copied, run, sentence

from export import layout, verify


@pytest.fixture
def damaged(exported, tmp_path):
    """An export to damage, in a run folder of that name."""
    return copied(exported, tmp_path / "run" / "saved_model" / "1")


def failure(folder):
    with pytest.raises(verify.Failed) as caught:
        verify.check(folder)
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message
    return message


def change_golden(folder, change):
    with np.load(folder / "golden.npz") as file:
        arrays = dict(file)
    change(arrays)
    np.savez_compressed(folder / "golden.npz", **arrays)


@pytest.mark.slow
def test_an_export_passes_every_check(capfd, exported):
    before = contents(exported)
    run_dir = exported.parent.parent
    status, out, error = run(capfd, "verify", f"--run_dir={run_dir}")
    assert (status, error) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["ok:"] * 5
    for part in (
        "9 signatures",
        "operations",
        "warm-up requests, for every signature",
        "V1 session: 10 requests",
        "C API: 10 requests",
    ):
        assert part in out
    assert lines[-1] == f"{exported} is as it was exported."
    assert contents(exported) == before


@pytest.mark.parametrize(
    "arguments", [["-m", "export.verify"], [ROOT / "export" / "verify.py"]]
)
def test_it_runs_by_itself(tmp_path, arguments):
    done = subprocess.run(
        [sys.executable, *arguments, tmp_path],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 1
    assert "is not a whole export: saved_model.pb is missing" in sentence(done.stderr)
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 2 and "Usage" in done.stderr


def test_its_source_needs_numpy_only_until_it_needs_tensorflow():
    script = "import sys, export.verify; print(sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT
    )
    roots = {name.split(".")[0] for name in eval(done.stdout)}
    assert roots.isdisjoint({"tensorflow", "keras", "singan_tf"})


@pytest.mark.parametrize("name", sorted(map(str, verify.FILES)))
def test_a_missing_file_is_named(damaged, name):
    (damaged / name).unlink()
    assert f"is not a whole export: {name} is missing" in failure(damaged)


@pytest.mark.parametrize("name", ["saved_model.pb", "signatures.json", "golden.npz"])
def test_a_damaged_file_is_named(damaged, name):
    path = damaged / name
    path.write_bytes(b"\xff" + path.read_bytes()[: path.stat().st_size // 2])
    message = failure(damaged)
    assert "is damaged" in message and name in message


def test_a_file_that_the_disk_does_not_give_is_named(damaged):
    path = damaged / "saved_model.pb"
    path.unlink()
    path.symlink_to("/proc/self/mem")  # whose first byte cannot be read
    assert failure(damaged) == f"{path} cannot be read (Input/output error)."


def test_only_a_sentence_of_the_process_is_taken_for_one():
    for script, told in (
        ("sys.exit('error: One sentence.')", "One sentence."),
        ("{}['key']", "It ended with status 1: KeyError: 'key'"),
        ("sys.exit(3)", "It ended with status 3: "),
    ):
        command = [sys.executable, "-c", f"import sys; {script}"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert verify._last_line(done, "It ended") == told


def test_damaged_weights_do_not_load(damaged):
    path = damaged / "variables" / "variables.data-00000-of-00001"
    path.write_bytes(path.read_bytes()[:1000])
    assert "A V1 session cannot load" in failure(damaged)


def test_damaged_warmup_requests_are_told(damaged):
    path = damaged / layout.WARMUP
    path.write_bytes(path.read_bytes()[:100])
    assert f"{path} cannot be read" in failure(damaged)
    path.write_bytes(b"")
    assert "There is no warm-up request for edit, edit_png, rec" in failure(damaged)


def test_another_answer_than_at_export_is_found(damaged):
    def change(arrays):
        arrays["0/outputs/image"][0, 3, 4, 1] ^= 1

    change_golden(damaged, change)
    assert "V1 session: warm-up request 0, of serving_default" in failure(damaged)


def test_another_answer_of_the_c_api_is_found(damaged):
    names = verify._tensor_names(verify.read_meta_graph(damaged))

    def change(arrays):
        arrays["0/outputs/image"][0, 3, 4, 1] ^= 1

    change_golden(damaged, change)
    with pytest.raises(verify.Failed, match="C API: warm-up request 0, of serving_d"):
        verify._check_c_api(damaged, layout.read_golden(damaged), names)


def test_other_requests_than_recorded_are_found(damaged):
    def change(arrays):
        arrays["0/inputs/seed"] += 1

    change_golden(damaged, change)
    assert "The warm-up requests are not those in golden.npz" in failure(damaged)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda s: s.pop("edit"), "but signatures.json has"),
        (lambda s: s["edit"]["inputs"].pop("mask"), "edit has other inputs than"),
        (
            lambda s: s["sample"]["inputs"]["seed"].update(default=1),
            "sample does not store the default of seed",
        ),
        (
            lambda s: s["edit"]["inputs"]["mask"].update(default=254),
            "edit stores another default of mask",
        ),
    ],
)
def test_signatures_and_their_description_must_agree(damaged, change, part):
    path = damaged / "signatures.json"
    told = json.loads(path.read_text())
    change(told["signatures"])
    path.write_text(json.dumps(told))
    assert part in failure(damaged)


def operations_failure(function, tmp_path):
    root = tf.Module()
    root.function = tf.function(function, input_signature=[tf.TensorSpec([2])])
    tf.saved_model.save(root, str(tmp_path), signatures=root.function)
    with pytest.raises(verify.Failed) as caught:
        verify.check_operations(verify.read_meta_graph(tmp_path))
    return str(caught.value)


def test_python_functions_are_found(tmp_path):
    def call_python(x):
        return {"y": tf.ensure_shape(tf.numpy_function(np.sin, [x], tf.float32), [2])}

    assert "calls Python functions: PyFunc" in operations_failure(call_python, tmp_path)


def test_functions_that_xla_must_compile_are_found(tmp_path):
    compiled = tf.function(lambda x: x + 1, jit_compile=True)
    message = operations_failure(lambda x: {"y": compiled(x)}, tmp_path)
    assert "must be compiled by XLA" in message


def test_operations_of_other_packages_are_found(exported):
    meta_graph = verify.read_meta_graph(exported)
    meta_graph.graph_def.library.function[0].node_def[0].op = "Addons>Resampler"
    with pytest.raises(verify.Failed, match="Addons>Resampler"):
        verify.check_operations(meta_graph)


def test_a_run_without_exports_is_told(capsys, damaged):
    run_dir = damaged.parent.parent
    status, _, error = run(capsys, "verify", f"--run_dir={run_dir}", "--version=2")
    assert status == 1 and "There is no version 2 in" in sentence(error)
    shutil.rmtree(damaged)
    status, _, error = run(capsys, "verify", f"--run_dir={run_dir}")
    assert status == 1 and "There is no export in" in sentence(error)
    damaged.mkdir()
    status, _, error = run(capsys, "verify", f"--run_dir={run_dir}")
    assert status == 1 and "is not a whole export" in sentence(error)
