import datetime
import fcntl
import ipaddress
import logging
import os
import shutil

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from helpers import SMOKE, pixels
from PIL import Image
from serving_helpers import serving
from tensorflow.python.framework import config as config_of_ops

import main
from export import saved_model, signatures
from singan_tf import config, images
from singan_tf.keras2 import keras
from singan_tf.model.stages import build_convolutional_stage
from singan_tf.runs.folder import RunFolder
from singan_tf.training import vgg


@pytest.fixture(scope="module", autouse=True)
def as_it_began():
    """Training in this process switches determinism on for all that follows."""
    yield
    config_of_ops.disable_op_determinism()


@pytest.fixture(autouse=True)
def notices_reach_caplog():
    """As if no command had run in this process before.

    Commands keep the libraries' notices to their own stream, and one that uses Beam
    silences what has no level of its own.
    """
    for name in ("singan_tf", "export"):
        logging.getLogger(name).propagate = True
        logging.getLogger(name).setLevel(logging.INFO)


@pytest.fixture(scope="session")
def make_stage():
    """Builds stages that look trained: fresh weights hardly change their input."""

    def make(scale=1, amplitude=0.3, palette=None, **settings):
        settings = {"width": 8, "width_doubling": 0, **settings}
        stage = build_convolutional_stage(
            config.from_settings(settings), scale, palette
        )
        rng = np.random.default_rng(scale)
        for variable in stage.generator.variables:
            shape = variable.shape
            if len(shape) == 4:
                value = rng.normal(0, 1.3 / np.prod(shape[:3]) ** 0.5, shape)
            elif "gamma" in variable.name or "variance" in variable.name:
                value = rng.uniform(0.5, 1.5, shape)
            else:
                value = rng.normal(0, 0.1, shape)
            variable.assign(value)
        stage.noise_amplitude.assign(amplitude)
        return stage

    return make


@pytest.fixture(scope="session")
def photograph(tmp_path_factory):
    path = tmp_path_factory.mktemp("photographs") / "rocket.png"
    picture = Image.open(images.resolve("rocket")).resize((60, 40))
    # Tests look at the levels that are in the file.
    picture.save(path, icc_profile=None)
    return path


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Gives a folder that one of the processes of the tests fills for all of them."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent

    def folder(name, fill):
        path = place / "made_once" / name
        path.mkdir(parents=True, exist_ok=True)
        with open(path / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (path / ".filled").exists():
                fill(path)
                (path / ".filled").touch()
        return path

    return folder


@pytest.fixture(scope="session")
def finished(made_once, photograph):
    """A finished run; never write into it."""

    def fill(folder):
        arguments = [f"--image={photograph}", f"--run_dir={folder / 'rocket'}", SMOKE]
        assert main.main(["main.py", "train", *arguments]) == 0

    return made_once("finished", fill) / "rocket"


@pytest.fixture(scope="session")
def vgg_file(tmp_path_factory):
    """VGG16 with random weights, as Keras stores them."""
    model = keras.applications.VGG16(include_top=False, weights=None)
    path = tmp_path_factory.mktemp("weights") / vgg.WEIGHTS_NAME
    model.save_weights(path)
    return path


@pytest.fixture(scope="session")
def exported(finished, made_once):
    """The version folder of an export of the finished run; never write into it."""

    def fill(folder):
        shutil.copytree(finished, folder / "rocket")
        limits = signatures.Limits(max_pixels=2**16, max_batch=8)
        saved_model.export(RunFolder(folder / "rocket"), None, limits)

    return made_once("exported", fill) / "rocket" / "saved_model" / "1"


@pytest.fixture(scope="session")
def sampled(finished, tmp_path_factory):
    """Two samples by main.py, seeds 3 and 4: uint8 [2, 44, 66, 3]."""
    folder = tmp_path_factory.mktemp("sampled") / "out"
    arguments = [f"--run_dir={finished}", f"--output_dir={folder}", "--num_samples=2"]
    arguments += ["--seed=3", "--height=44", "--width=66"]
    assert main.main(["main.py", "sample", *arguments]) == 0
    return np.stack([pixels(folder / f"seed_{seed:06d}.png") for seed in (3, 4)])


@pytest.fixture(scope="session")
def served_export(exported, tmp_path_factory):
    """A client of a server of the export."""
    base_path = tmp_path_factory.mktemp("served")
    shutil.copytree(exported, base_path / "1")
    with serving(base_path) as client:
        yield client


@pytest.fixture(scope="session")
def pem(tmp_path_factory):
    """Files of a certificate for localhost and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("pem")
    cert_path, key_path = folder / "cert.pem", folder / "key.pem"
    cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_path, key_path
