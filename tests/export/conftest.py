"""What the tests of the local server share: the small model, by itself and served."""

import shutil

import pytest
from serving_helpers import save_toy, serving


@pytest.fixture(scope="session")
def toys(made_once):
    """Versions 1 to 3 of the model, in folders to copy from."""

    def fill(folder):
        for version in (1, 2, 3):
            save_toy(folder / str(version), factor=version)

    return made_once("toys", fill)


@pytest.fixture(scope="session")
def client(toys, tmp_path_factory):
    """Of a server of version 1 alone."""
    base_path = tmp_path_factory.mktemp("models")
    shutil.copytree(toys / "1", base_path / "1")
    with serving(base_path, max_message_bytes=1 << 20) as client:
        yield client


@pytest.fixture
def base_path(toys, tmp_path):
    """A folder with version 1, to add to."""
    shutil.copytree(toys / "1", tmp_path / "models" / "1")
    return tmp_path / "models"
