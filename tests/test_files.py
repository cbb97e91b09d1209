import errno
import functools
import io
import os
import pathlib
import resource
import socket

import helpers
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


def test_a_name_that_is_not_utf_8_is_written_as_an_escape(tmp_path):
    files.write_text(tmp_path / "a.txt", f"é {os.fsdecode(b'caf' + bytes([233]))}")
    assert (tmp_path / "a.txt").read_bytes() == "é caf".encode() + rb"\udce9"


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


def test_a_new_file_in_new_folders_is_synced_before_and_after_its_rename(
    tmp_path, monkeypatch
):
    events, replace = [], os.replace

    def fsync(handle):
        events.append(pathlib.Path(os.readlink(f"/proc/self/fd/{handle}")))

    def replaced(source, target):
        events.append((source, target))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replaced)
    path = tmp_path / "a" / "b" / "c.txt"
    files.write_text(path, "text")
    temporary = path.with_name(".c.txt.tmp")
    # The names of the two folders, the file, its new name.
    assert sorted(events[:2]) == [tmp_path, tmp_path / "a"]
    assert events[2:] == [temporary, (temporary, path), path.parent]
    del events[:]
    files.write_text(path, "shown only", durable=False)
    assert events == [(temporary, path)]


def test_a_tree_is_synced_from_within(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(files, "sync", synced.append)
    for name in ("a/b/1", "a/2", "3"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files.sync_tree(tmp_path)
    places = {str(path.relative_to(tmp_path)): n for n, path in enumerate(synced)}
    assert len(synced) == 6
    assert places["a/b/1"] < places["a/b"] < places["a"] < places["."]
    assert places["a/2"] < places["a"] and places["3"] < places["."]


def test_a_file_system_that_does_not_sync_folders_is_no_error(tmp_path, monkeypatch):
    def fsync(handle):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    files.write_text(tmp_path / "a.txt", "text")
    assert (tmp_path / "a.txt").read_text() == "text"


def test_a_disk_that_loses_what_is_written_is_told_and_the_old_file_stays(
    tmp_path, monkeypatch
):
    (tmp_path / "a.txt").write_text("old")

    def fsync(handle):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(UserError, match="Input/output error"):
        files.write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.parametrize("name", [b"plain", b"with space", b"caf\xc3\xa9", b"[1]"])
def test_a_plain_path_is_a_way_to_the_folder(tmp_path, name):
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    with files.plain_path(folder) as plain:
        pathlib.Path(plain, "file").write_text("text")
        assert files.is_plain(plain)
        assert (plain == str(folder)) == (name != b"[1]")
    assert (folder / "file").read_text() == "text"
    assert not pathlib.Path(plain).is_symlink()


def test_an_address_stays_as_it_is():
    with files.plain_path("gs://bucket/model") as plain:
        assert plain == "gs://bucket/model"


refuse = functools.partial(helpers.refuse, files.open_to_read)


def make_pipe(path):
    """A pipe whose writer keeps it open: who reads all of it waits for ever."""
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    os.write(writer, b"junk")
    return writer


def test_a_file_and_a_link_to_it_are_opened_to_read(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").symlink_to("a")
    for name in "ab":
        with files.open_to_read(tmp_path / name) as file:
            assert file.read() == b"abc"


def test_what_is_no_file_is_not_waited_for(tmp_path, monkeypatch):
    refuse(tmp_path, "is a folder", "one file in it")
    refuse(pathlib.Path("/dev/null"), "is a device", "save")
    # A Unix socket's address is short.
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        refuse(pathlib.Path("socket"), "is a socket", "save")
    writer = make_pipe(tmp_path / "pipe")
    refuse(tmp_path / "pipe", "is a pipe", "save what comes from it to a file")
    os.close(writer)
    refuse(tmp_path / "pipe", "is a pipe")


def test_a_pipe_that_takes_a_file_s_place_is_not_waited_for(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    status = os.stat(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", lambda path: status)
        refuse(tmp_path / "pipe", "is a pipe")


def test_too_many_open_files_are_not_blamed_on_the_path(tmp_path):
    (tmp_path / "file").touch()
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, most))
    try:
        with pytest.raises(UserError, match=r"let a process open more files"):
            files.open_to_read(tmp_path / "file")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))


def test_names_that_no_file_can_have(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "broken").symlink_to("nowhere")
    for name in ("loop", "broken", "absent", "x" * 300, os.fsdecode(b"\xff")):
        refuse(tmp_path / name, "cannot be opened", "check the path")
    refuse(tmp_path / "a\0b", "NUL")


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
