"""An export of a newer format is refused with one sentence, whoever reads it."""

import json

import pytest
from helpers import copied

from export import verify
from export.pipeline import Pipeline
from export.servable import Servable


def with_format(exported, folder, number):
    folder = copied(exported, folder)
    path = folder / "signatures.json"
    described = json.loads(path.read_text())
    assert described.pop("format") == 1
    if number is not None:
        described["format"] = number
    path.write_text(json.dumps(described))
    return folder


READERS = [
    lambda folder: verify.check(folder),
    lambda folder: Servable(folder, "rocket", 1),
    lambda folder: Pipeline(str(folder)),
]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("number", "words"),
    [(2, "was made by a newer version of the program; update it."), ("1", "damaged")],
)
def test_a_newer_or_damaged_format_is_refused(exported, tmp_path, read, number, words):
    folder = with_format(exported, tmp_path / "1", number)
    with pytest.raises((verify.Failed, ValueError)) as error:
        read(folder)
    assert words in str(error.value) and "signatures.json" in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("read", READERS)
def test_an_export_without_a_format_is_read(exported, tmp_path, read):
    read(with_format(exported, tmp_path / "1", None))
