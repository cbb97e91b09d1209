"""Requests to images by Apache Beam, in this process."""

import json
import os

import numpy as np
import pytest
from helpers import contents, copied, pixels, png, sentence

pytest.importorskip("apache_beam", reason="needs requirements-beam.txt")

import apache_beam as beam
from apache_beam.ml.inference.base import RunInference
from apache_beam.testing.util import assert_that

from export import beam_sample
from export.pipeline import Pipeline, read_signatures
from singan_tf import images

SIZE = {"height": 44, "width": 66}


def command(capsys, *arguments):
    status = beam_sample.main(["beam_sample", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def refusals(folder):
    lines = (folder / "errors.jsonl").read_text().splitlines()
    return {error["line"]: error["error"] for error in map(json.loads, lines)}


@pytest.fixture(scope="module")
def generated(exported, tmp_path_factory):
    """A folder with requests of every kind, and what came of them."""
    folder = tmp_path_factory.mktemp("beam")
    pipeline = Pipeline(exported)
    (photograph,) = pipeline({"seed": 0}, "reconstruct")["image"]
    (folder / "in.png").write_bytes(png(photograph))
    mask = np.zeros([32, 48], np.uint8)
    mask[8:20, 8:30] = 255
    (folder / "mask.png").write_bytes(png(mask))
    (folder / "faint.png").write_bytes(png(mask // 255))
    (folder / "text.png").write_text("no image")
    os.mkfifo(folder / "pipe")
    image = str(folder / "in.png")
    edit = {"signature": "edit", "image": image, "injection_scale": 1}
    lines = [
        {"id": "three", "signature": "sample", "seed": 3, **SIZE},
        {"id": "four", "seed": 4, **SIZE},
        {"id": "large", "signature": "super_resolve", "image": image, "factor": 2},
        {"id": "edited", **edit, "mask": str(folder / "mask.png"), "seed": 5},
        {"id": "again", "signature": "reconstruct"},
        "not JSON",
        "",
        {"id": "three", "seed": 9},
        {"id": "outside", "seed": 1, "start_scale": 99},
        {"id": "nowhere", **edit, "image": str(folder / "absent.png")},
        {"id": "text", **edit, "image": str(folder / "text.png")},
        {"id": "pipe", **edit, "image": str(folder / "pipe")},
        {"id": "faint", **edit, "mask": str(folder / "faint.png")},
    ]
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "requests.jsonl").write_text("\n".join(texts))
    arguments = [
        "beam_sample",
        f"--input={folder / 'requests.jsonl'}",
        f"--output={folder / 'out'}",
        f"--model={exported.parent}",
    ]
    return folder, arguments, beam_sample.main(arguments)


@pytest.mark.cluster
def test_samples_are_those_of_main_to_the_last_bit(generated, sampled):
    folder, _, _ = generated
    for name, expected in zip(("three", "four"), sampled):
        np.testing.assert_array_equal(pixels(folder / "out" / f"{name}.png"), expected)


@pytest.mark.cluster
def test_every_signature_makes_its_image(generated, exported):
    folder, _, _ = generated
    pipeline = Pipeline(exported)
    image, mask = pixels(folder / "in.png"), pixels(folder / "mask.png")[..., None]
    for name, signature, inputs in (
        ("large", "super_resolve", {"image": image, "factor": 2}),
        (
            "edited",
            "edit",
            {"image": image, "injection_scale": 1, "mask": mask, "seed": 5},
        ),
        ("again", "reconstruct", {"seed": 0}),
    ):
        (expected,) = pipeline(inputs, signature)["image"]
        np.testing.assert_array_equal(pixels(folder / "out" / f"{name}.png"), expected)


@pytest.mark.cluster
def test_what_cannot_be_done_stops_nothing_else(generated):
    folder, _, status = generated
    assert status == 1
    made = {path.name for path in (folder / "out").iterdir()}
    names = {"three", "four", "large", "edited", "again", "contact_sheet"}
    assert made == {f"{name}.png" for name in names} | {"errors.jsonl"}
    errors = refusals(folder / "out")
    assert set(errors) == {6, 8, 9, 10, 11, 12, 13}
    assert "JSON" in errors[6]
    assert errors[8] == "id three is taken by line 1."
    assert errors[9].startswith("start_scale must be from 0 to")
    assert errors[10].startswith("image ") and "absent.png" in errors[10]
    assert "PNG" in errors[11]
    assert errors[12].endswith("pipe is not a file.")
    assert errors[13].startswith("mask ") and "faint.png is as good as" in errors[13]
    for error in errors.values():
        assert "\n" not in error and error.endswith(".") and not error.endswith("..")


@pytest.mark.cluster
def test_the_sheet_has_the_lines_in_order(generated):
    folder, _, _ = generated
    names = ["three", "four", "large", "edited", "again"]
    shown = [pixels(folder / "out" / f"{name}.png") for name in names]
    sheet = pixels(folder / "out" / "contact_sheet.png")
    np.testing.assert_array_equal(sheet, images.contact_sheet(shown, names))


@pytest.mark.cluster
def test_the_same_again_makes_the_same_files(generated, capsys):
    folder, arguments, _ = generated
    before = contents(folder / "out")
    assert beam_sample.main(arguments) == 1
    error = capsys.readouterr().err
    assert "7 of the lines" in sentence(error)
    assert contents(folder / "out") == before


@pytest.mark.cluster
def test_all_well_is_status_0_on_the_runner_that_is_named(
    exported, sampled, tmp_path, capsys
):
    requests = tmp_path / "requests.jsonl"
    requests.write_text(json.dumps({"id": "a", "seed": 3, **SIZE}) + "\n")
    status, out, error = command(
        capsys,
        f"--input={requests}",
        f"--output={tmp_path / 'new' / 'folder'}",
        f"--model={exported}",
        "--runner=BundleBasedDirectRunner",
        "--job_name=test",
    )
    assert (status, error) == (0, "") and str(tmp_path / "new" / "folder") in out
    np.testing.assert_array_equal(pixels(tmp_path / "new/folder/a.png"), sampled[0])
    assert refusals(tmp_path / "new" / "folder") == {}


@pytest.mark.cluster
def test_the_handler_calls_a_signature_in_run_inference(exported, sampled):
    examples = [{"seed": seed, **SIZE} for seed in (3, 4)]

    def check(results):
        found = {result.example["seed"]: result.inference for result in results}
        for seed, image in zip((3, 4), sampled):
            np.testing.assert_array_equal(found[seed]["image"], image)

    with beam.Pipeline("FnApiRunner") as pipeline:
        handler = beam_sample.SignatureHandler(str(exported), "sample")
        results = pipeline | beam.Create(examples) | RunInference(handler)
        assert_that(results, check)


@pytest.mark.parametrize(
    "fields, said",
    [
        ([1], "not a JSON object"),
        ({"seed": 1}, "id must be"),
        ({"id": 7, "seed": 1}, "id must be"),
        ({"id": "../up", "seed": 1}, "id must be"),
        ({"id": ".hidden", "seed": 1}, "id must be"),
        ({"id": "contact_sheet", "seed": 1}, "id must be"),
        ({"id": "a" * 201, "seed": 1}, "id must be"),
        ({"id": "a", "signature": "smple"}, "signature must be one of sample"),
        ({"id": "a", "signature": ["sample"]}, "signature must be one of sample"),
        ({"id": "a"}, "seed is missing"),
        ({"id": "a", "seed": 1, "sed": 1}, "sample has no sed"),
        ({"id": "a", "seed": 1.5}, "seed must be a whole number"),
        ({"id": "a", "seed": True}, "seed must be a whole number"),
        ({"id": "a", "seed": 2**63}, "seed is beyond int64"),
        ({"id": "a", "seed": 1, "noise_scale": "1"}, "noise_scale must be a number"),
        ({"id": "a", "signature": "super_resolve", "image": 1}, "image must be a path"),
    ],
)
def test_a_line_that_is_no_request_is_refused(fields, said, exported):
    with pytest.raises(ValueError, match=said):
        text = json.dumps(fields).encode()
        beam_sample.parse(text, 1, read_signatures(str(exported)))


def test_a_model_without_a_signature_refuses_its_requests(exported):
    signatures = read_signatures(str(exported))
    del signatures["edit_png"]
    with pytest.raises(ValueError, match="one of sample, super_resolve, reconstruct"):
        beam_sample.parse(b'{"id": "a", "signature": "edit"}', 1, signatures)


@pytest.mark.parametrize(
    "arguments, status, said",
    [
        ([], 2, "--input is missing"),
        (["--input"], 2, "input"),
        (["--input=a", "--output=b", "--model=c", "d"], 2, "d is not a flag"),
        (["--input=a", "--output=b", "--model=absent"], 1, "absent holds no exported"),
    ],
)
def test_bad_usage_is_told_in_a_sentence(arguments, status, said, capsys):
    found, _, error = command(capsys, *arguments)
    assert found == status and said in sentence(error)


def test_an_absent_input_is_told_in_a_sentence(exported, tmp_path, capsys):
    arguments = [f"--output={tmp_path}", f"--model={exported}", "--input=absent.jsonl"]
    status, _, error = command(capsys, *arguments)
    assert status == 1 and "absent.jsonl" in sentence(error)


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("saved_model.pb", b"\xff", "is damaged: saved_model.pb is no SavedModel"),
        ("saved_model.pb", b"", "is damaged: saved_model.pb is no SavedModel"),
        ("signatures.json", b"{", "cannot be read"),
        ("signatures.json", b'{"format": 99}', "made by a newer version"),
    ],
)
def test_a_model_of_no_use_is_told_before_anything_is_written(
    exported, tmp_path, capsys, name, content, said
):
    folder = copied(exported, tmp_path / "1")
    (folder / name).write_bytes(content)
    (tmp_path / "requests.jsonl").write_text('{"id": "a", "seed": 1}')
    arguments = [f"--input={tmp_path / 'requests.jsonl'}", f"--model={folder}"]
    status, _, error = command(capsys, *arguments, f"--output={tmp_path / 'out'}")
    assert status == 1 and said in sentence(error)
    assert "error: --model" in error and str(folder) in error
    assert not (tmp_path / "out").exists()


def test_paths_of_no_use_are_told_before_anything_is_made(exported, tmp_path, capsys):
    (tmp_path / "requests.jsonl").write_text('{"id": "a", "seed": 1}')
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    flags = {"input": "requests.jsonl", "output": "out"}
    for flag, value, said in (
        ("output", "requests.jsonl", "is not a folder"),
        ("output", "requests.jsonl/in", "(Not a directory); name another"),
        ("input", "", "is not a file"),
        ("input", "pipe", "is not a file"),
    ):
        given = {**flags, flag: value}
        arguments = [f"--{name}={tmp_path / path}" for name, path in given.items()]
        status, _, error = command(capsys, *arguments, f"--model={exported}")
        assert status == 1 and said in sentence(error)
        assert f"error: --{flag}={tmp_path}" in error
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.cluster
def test_a_sheet_that_was_not_written_is_not_named(exported, tmp_path, capsys):
    (tmp_path / "requests.jsonl").write_text("no request")
    status, out, error = command(
        capsys,
        f"--input={tmp_path / 'requests.jsonl'}",
        f"--output={tmp_path / 'out'}",
        f"--model={exported}",
    )
    assert (status, out) == (1, f"Wrote {tmp_path / 'out'}\n")
    assert "1 of the lines could not be done" in sentence(error)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["errors.jsonl"]


def test_help_shows_the_flags(capsys):
    status, out, _ = command(capsys, "--help")
    assert status == 0 and "--model" in out
