import os
import pathlib

import pytest

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
