"""What the tabs of the studio share: models, and a folder for each session's files.

What is drawn is written as PNG files into the folder, and shown from there, so that
what a person downloads is what was drawn, to the last bit. The folder goes when the
page is closed.
"""

import contextlib
import hashlib
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import NamedTuple, Optional, Protocol

import gradio as gr
import numpy as np

from singan_tf import images
from singan_tf.errors import UserError
from singan_tf.studio.models import Model
from singan_tf.studio.trainings import Trainings


class Source(Protocol):
    """Where models come from.

    Attributes:
        trainings: Where new ones are trained; None where they are not.
    """

    trainings: Optional[Trainings]

    def names(self) -> list[str]:
        """What there is to choose from."""

    def open(self, name: str) -> Model:
        """The model of a name.

        Raises:
            UserError: if it cannot be had.
        """


class Page(NamedTuple):
    """What all tabs share.

    Attributes:
        source: Where models come from.
        root: The folder of the sessions' files.
    """

    source: Source
    root: pathlib.Path

    def model(self, name: Optional[str]) -> Model:
        """The chosen model, or the sentence of why there is none, for the person."""
        if not name:
            raise gr.Error("Train a photograph first: there is no model yet.")
        with told():
            return self.source.open(name)

    def folder(self, request: gr.Request) -> pathlib.Path:
        """A new folder for the results of one click."""
        session = self._session(request)
        session.mkdir(parents=True, exist_ok=True)
        return pathlib.Path(tempfile.mkdtemp(dir=session))

    def forget(self, request: gr.Request) -> None:
        """Removes the files of a session."""
        shutil.rmtree(self._session(request), ignore_errors=True)

    def _session(self, request: gr.Request) -> pathlib.Path:
        """A session's folder; the browser says what the session is called."""
        name = str(request.session_hash).encode("utf-8", "surrogatepass")
        return self.root / hashlib.sha256(name).hexdigest()


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Shows a person the sentence of an error of theirs."""
    try:
        yield
    except (UserError, ValueError) as error:
        raise gr.Error(str(error), duration=None) from None


def write(folder: pathlib.Path, name: str, image: np.ndarray) -> str:
    """Writes a picture for the page, and returns its path."""
    path = folder / name
    images.write(path, image)
    return str(path)
