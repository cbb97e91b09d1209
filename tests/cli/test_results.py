"""Where results go: what is a user's to put right, and what is the program's fault."""

import errno
import os

import pytest
from helpers import run, sentence

from singan_tf import files
from singan_tf.cli import results
from singan_tf.errors import UserError


def test_a_folder_that_cannot_be_made_is_a_users_error(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file" / "out", tmp_path / "file"):
        with pytest.raises(UserError, match="cannot be made .* name another folder"):
            results.make_output_dir(folder)


def test_a_link_to_itself_is_a_users_mistake(capsys, tmp_path):
    (tmp_path / "link").symlink_to("link")
    status, _, error = run(capsys, "sample", f"--run_dir={tmp_path / 'link'}")
    assert status == 1 and f"{tmp_path / 'link'}" in sentence(error)


def test_a_fault_of_the_program_stays_one(tmp_path, monkeypatch):
    def sync(path):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(files, "sync", sync)
    with pytest.raises(OSError, match="Bad file descriptor"):
        results.make_output_dir(tmp_path)
