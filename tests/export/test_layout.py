"""Which folders are versions, and what is told of them: one rule for all."""

import json

import pytest

from export import layout


def test_versions_are_folders_named_by_numbers_in_order(tmp_path):
    base = tmp_path / "saved_model"
    assert layout.versions(base) == {}
    assert layout.latest(base) is None
    for name in ("10", "2", "007", ".3.tmp", "canary", "-4", "\u0665", "9" * 19):
        (base / name).mkdir(parents=True)
    (base / "99").write_text("a file")
    assert list(layout.versions(base).items()) == [
        (number, base / name) for number, name in ((2, "2"), (7, "007"), (10, "10"))
    ]
    assert layout.latest(base) == base / "10"
    # A folder cannot be renamed to where a file is.
    assert layout.taken(base) == [2, 7, 10, 99]


def test_a_version_without_its_graph_holds_no_model(tmp_path):
    assert not layout.holds_model(tmp_path)
    (tmp_path / "saved_model.pb").touch()
    assert layout.holds_model(tmp_path)


def test_an_export_is_described(exported):
    told = json.loads((exported / "signatures.json").read_text())
    found = layout.description(exported)
    assert found == (told["signatures"], told["limits"]["max_batch"])
    assert found == layout.read_description(exported)


@pytest.mark.parametrize(
    "text", [None, "{", "[]", "7", "{}", '{"signatures": 3}', '{"signatures": []}']
)
def test_models_of_others_are_described_by_nothing(tmp_path, text):
    if text is not None:
        (tmp_path / "signatures.json").write_text(text)
    assert layout.description(tmp_path) == ({}, None)


def test_an_export_from_before_limits_were_told_has_none(tmp_path):
    (tmp_path / "signatures.json").write_text('{"signatures": {"sample": {}}}')
    assert layout.description(tmp_path) == ({"sample": {}}, None)
    (tmp_path / "signatures.json").write_text('{"limits": {"max_batch": 4}}')
    assert layout.description(tmp_path) == ({}, 4)
