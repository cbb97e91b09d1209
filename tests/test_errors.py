import errno
import os
import pathlib

import pytest

from singan_tf import errors
from singan_tf.errors import printable


@pytest.mark.parametrize(
    "text, shown",
    [
        ("new\nline\r\ttab", r"new\nline\r\ttab"),
        ("\x1b[31mred\x07\x7f\x9b", r"\x1b[31mred\x07\x7f\x9b"),
        ("a\0b", r"a\x00b"),
        (os.fsdecode(b"bad\xff\xfe"), r"bad\udcff\udcfe"),
        ("two\u2028lines\u2029", r"two\u2028lines\u2029"),
        ("gnp\u202e.exe", r"gnp\u202e.exe"),
        (pathlib.Path("a\nb"), r"a\nb"),
    ],
)
def test_printable_escapes(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown
    shown.encode()


@pytest.mark.parametrize("text", ["", "plain name.png", "Küche ☃ 写真 «é» it's \\n 🏴"])
def test_printable_leaves_letters(text):
    assert printable(text) == text


@pytest.mark.parametrize(
    "number",
    [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EMFILE, errno.ENAMETOOLONG],
)
def test_an_error_of_the_system_is_one_sentence_with_its_path(number):
    error = OSError(number, os.strerror(number), "some/file")
    sentence = errors.explained(error)
    assert sentence.startswith(f"some/file: {os.strerror(number)}; ")
    assert sentence.endswith(".")
    assert ("space" in sentence) == (number == errno.ENOSPC)


@pytest.mark.parametrize(
    "error",
    [
        OSError("of no number"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "some/file"),
        FileExistsError(errno.EEXIST, "File exists", "some/file"),
        OSError(errno.EBADF, "Bad file descriptor"),
    ],
)
def test_an_error_of_the_programs_own_is_not_explained(error):
    assert errors.explained(error) is None


def test_a_removed_working_folder_is_told_of(tmp_path, monkeypatch):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert not errors.working_folder_is_gone()
    folder.rmdir()
    assert errors.working_folder_is_gone()
    with pytest.raises(FileNotFoundError) as caught:
        os.getcwd()
    assert "working folder was removed" in errors.explained(caught.value)
