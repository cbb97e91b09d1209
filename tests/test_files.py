import errno
import io

import pytest

from singan_tf import files
from singan_tf.errors import UserError


def test_a_file_is_replaced_whole_and_its_folder_made(tmp_path):
    path = tmp_path / "a" / "b.txt"
    files.write_text(path, "old")
    with files.replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [entry.name for entry in path.parent.iterdir()] == ["b.txt"]


def test_whatever_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError):
        with files.replacing(path) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"


def test_what_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"a.txt cannot be written \(.+\); .*choose"):
        files.write_text(tmp_path / "file" / "a.txt", "text")


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "free some space"),
        (OSError(errno.EROFS, "Read-only file system"), "choose another place"),
        (OSError("encoder error -2"), "choose another format"),
    ],
)
def test_what_helps_depends_on_the_error(tmp_path, error, part):
    with pytest.raises(UserError, match=rf"a.txt cannot be written \(.+\); {part}\."):
        with files.replacing(tmp_path / "a.txt"):
            raise error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        FileNotFoundError(errno.ENOENT, "No such file", "elsewhere"),
        PermissionError(errno.EACCES, "Permission denied", "elsewhere"),
        io.UnsupportedOperation("not readable"),
    ],
)
def test_errors_of_something_else_are_not_said_of_the_file(tmp_path, error):
    with pytest.raises(type(error)) as caught:
        with files.replacing(tmp_path / "a.txt"):
            raise error
    assert caught.value is error


def test_a_folder_that_is_removed_meanwhile_is_one_sentence(tmp_path):
    path = tmp_path / "a" / "b.txt"
    with pytest.raises(UserError, match="folder was removed"):
        with files.replacing(path):
            path.parent.rmdir()
