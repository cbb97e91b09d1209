"""The package as pip installs it."""

import os
import pathlib
import re
import subprocess
import sys
import sysconfig
import zipfile

import pytest

import singan_tf

ROOT = pathlib.Path(__file__).parent.parent


def requirements(name):
    """The lines of a requirements file that name a package, in any spelling."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return {line.replace('"', "'") for line in lines if line and line[0] not in "#-"}


def extra(name):
    """The packages of an extra of pyproject.toml; Python 3.9 cannot read TOML."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (body,) = re.findall(rf"^{name} = \[\n(.*?)\n\]$", text, re.DOTALL | re.MULTILINE)
    return set(re.findall(r'^    "(.+)",$', body, re.MULTILINE))


@pytest.mark.parametrize("name", ["beam", "dev", "gpu", "onnx", "studio"])
def test_the_extras_are_the_requirements_files(name):
    assert extra(name) == requirements(f"requirements-{name}.txt")


def test_every_package_is_in_the_wheel():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (body,) = re.findall(r"^packages = \[\n(.*?)\n\]$", text, re.DOTALL | re.MULTILINE)
    named = set(re.findall(r'"(.+)"', body))
    folders = {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for top in ("singan_tf", "export")
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert named == folders | {"singan_tf.configs", "export.deploy"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    # A copy, as a build leaves folders beside the sources.
    source.mkdir()
    names = ["pyproject.toml", "README.md", "LICENSE", "requirements.txt"]
    for name in [*names, "singan_tf", "export", "configs"]:
        subprocess.run(["cp", "-r", str(ROOT / name), str(source)], check=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", f"--wheel-dir={folder}", str(source)]
    subprocess.run(command, check=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_has_the_presets_and_the_files_of_deployments(wheel):
    assert wheel.name.startswith(f"singan_tf-{singan_tf.__version__}-")
    names = set(zipfile.ZipFile(wheel).namelist())
    presets = {f"singan_tf/configs/{path.name}" for path in ROOT.glob("configs/*")}
    deploy = {f"export/deploy/{path.name}" for path in ROOT.glob("export/deploy/*")}
    assert presets | deploy | {"singan_tf/py.typed"} <= names


@pytest.mark.slow
def test_the_installed_command_trains_from_another_folder(wheel, tmp_path, photograph):
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (packages,) = venv.glob("lib/python*/site-packages")
    # What the wheel needs is here already.
    (packages / "here.pth").write_text(sysconfig.get_path("purelib"))
    python = venv / "bin" / "python"
    install = [sys.executable, "-m", "pip", f"--python={python}", "install", "--quiet"]
    subprocess.run([*install, "--no-deps", "--no-index", str(wheel)], check=True)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [venv / "bin" / "singan", "train", f"--image={photograph}", "--run_dir=run"]
        + ["--preset=smoke"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "samples.png").exists()
