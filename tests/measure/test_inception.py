import numpy as np
import pytest
from helpers import run, sentence

from singan_tf import images
from singan_tf.errors import UserError
from singan_tf.keras2 import keras
from singan_tf.measure import inception

NAMES = {768: "mixed7", 2048: "mixed10"}


@pytest.fixture(scope="module")
def keras_model():
    """Inception V3 with random weights, batch norm's statistics among them."""
    model = keras.applications.InceptionV3(
        include_top=False, weights=None, input_shape=(None, None, 3)
    )
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            beta, mean, variance = layer.get_weights()
            layer.set_weights(
                [
                    rng.normal(0.1, 0.1, beta.shape),
                    rng.normal(0, 0.1, mean.shape),
                    rng.uniform(0.2, 1, variance.shape),
                ]
            )
    return model


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory, keras_model):
    path = tmp_path_factory.mktemp("weights") / inception.WEIGHTS_NAME
    keras_model.save_weights(path)
    return path


@pytest.fixture(scope="module")
def convolutions(keras_file):
    return inception.read(str(keras_file), 2048)


@pytest.fixture(scope="module")
def stem_file(tmp_path_factory, convolutions):
    path = tmp_path_factory.mktemp("weights") / "stem.npz"
    inception.save(path, convolutions[:5])
    return path


@pytest.fixture(scope="module")
def photograph():
    return images.read(images.resolve("coffee"))[:, 100:220, 200:340]


def keras_output(model, features):
    """By Keras' own layers: the tensor that enters the max pools, or a block's end."""
    if features in NAMES:
        return model.get_layer(NAMES[features]).output
    pools = [x for x in model.layers if isinstance(x, keras.layers.MaxPooling2D)]
    return pools[[64, 192].index(features)].input


@pytest.mark.parametrize("features", [64, 192, 768, 2048])
def test_features_are_those_of_the_whole_network(
    tmp_path, keras_model, convolutions, photograph, features
):
    """From a .npz of what the layer needs; the network's own outputs are the truth."""
    layer = inception.LAYERS[features]
    path = tmp_path / "weights.npz"
    inception.save(path, convolutions[: layer.convolutions])
    network = inception.load(str(path), features)
    expected = keras.Model(keras_model.input, keras_output(keras_model, features))(
        photograph, training=False
    ).numpy()
    assert expected.shape[3] == features
    found = network(photograph)
    assert found.shape == (expected.shape[1] * expected.shape[2], features)
    scale = np.abs(expected).max()
    assert scale > 0.1
    np.testing.assert_allclose(
        found, expected.reshape(-1, features), atol=1e-4 * max(scale, 1)
    )
    # The least side is the first with two positions.
    side = layer.least_side
    assert network.function(photograph[:, :side, :side]).shape[1:3] == (2, 2)
    assert network.function(photograph[:, : side - 1, :side]).shape[1:3] == (1, 2)
    assert network(photograph[:, :side, : side - 1]) is None
    assert network(photograph[:, :side, :side]).shape == (4, features)


def test_grey_is_three_equal_channels(stem_file, photograph):
    network = inception.load(str(stem_file))
    grey = photograph[..., :1]
    found = network(grey)
    np.testing.assert_array_equal(found, network(np.repeat(grey, 3, axis=3)))


def test_a_command_makes_a_small_file_of_what_a_layer_needs(
    capsys, tmp_path, keras_file, convolutions
):
    output = tmp_path / "small.npz"
    command = ["shrink_inception", f"--inception_weights={keras_file}"]
    status, out, error = run(capsys, *command, f"--output={output}")
    assert status == 0, error
    assert str(output) in out
    assert output.stat().st_size < 200_000
    found = inception.read(str(output), 64)
    assert len(found) == 3
    for ours, theirs in zip(found, convolutions):
        np.testing.assert_array_equal(ours.kernel, theirs.kernel)
        np.testing.assert_array_equal(ours.bias, theirs.bias)
    status, _, error = run(capsys, *command, f"--output={output}")
    assert status == 1
    assert "--overwrite" in sentence(error)


@pytest.mark.parametrize(
    ("flags", "status", "part"),
    [
        ([], 2, "--inception_weights is missing"),
        (["--inception_weights={stem}", "--output=x.h5"], 2, "must end in .npz"),
        (["--inception_weights={stem}", "--sifid_features=65"], 2, "sifid_features"),
        (
            ["--inception_weights={stem}", "--sifid_features=768", "--output={new}"],
            1,
            "holds 5 convolutions, but sifid_features=768 needs 70",
        ),
    ],
)
def test_a_file_that_cannot_be_made_is_one_sentence(
    capsys, tmp_path, stem_file, flags, status, part
):
    new = tmp_path / "new.npz"
    flags = [flag.format(stem=stem_file, new=new) for flag in flags]
    found, _, error = run(capsys, "shrink_inception", *flags)
    assert found == status
    assert part in sentence(error)
    assert not new.exists()


def other_arrays(path):
    np.savez(path, weights=np.zeros(3), others=np.zeros(3))


def other_model(path):
    inputs = keras.Input([4])
    keras.Model(inputs, keras.layers.Dense(2)(inputs)).save_weights(path)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("text.h5", lambda path: path.write_text("not HDF5")),
        ("text.npz", lambda path: path.write_text("not a zip")),
        ("empty.npz", lambda path: path.touch()),
        ("other.npz", other_arrays),
        ("other.h5", other_model),
        ("folder.h5", lambda path: path.mkdir()),
        ("missing.h5", lambda path: None),
    ],
)
def test_weights_that_are_none_are_one_sentence(tmp_path, name, make):
    path = tmp_path / name
    make(path)
    with pytest.raises(UserError, match=inception.WEIGHTS_NAME) as caught:
        inception.load(str(path))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_download_is_keras_own_and_its_failure_one_sentence(monkeypatch, stem_file):
    asked = []

    def get_file(name, url, **options):
        asked.append((name, url, options["file_hash"]))
        return str(stem_file)

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    assert inception.load("download").features == 64
    module = keras.applications.inception_v3.__dict__
    source = module.get("WEIGHTS_PATH_NO_TOP")
    if source is None:
        from keras.src.applications import inception_v3

        source = inception_v3.WEIGHTS_PATH_NO_TOP
    assert asked == [(inception.WEIGHTS_NAME, source, inception._MD5)]

    def fail(*args, **options):
        raise OSError("URL fetch failure:\nno route")

    monkeypatch.setattr(keras.utils, "get_file", fail)
    with pytest.raises(UserError, match="URL fetch failure: no route"):
        inception.load("download")


@pytest.mark.parametrize("features", [64, 192, 768, 2048])
def test_positions_are_where_the_middle_of_what_they_see_is(features):
    """By arithmetic: the layers' kernels, strides and padding, as Keras has them."""
    # (kernel, stride, whether its border is padded) of each layer that moves things.
    stem = [(3, 2, False), (3, 1, False), (3, 1, True)]
    deeper = [(3, 2, False), (1, 1, False), (3, 1, False)]
    reduced = [(3, 2, False)]
    layers = {64: stem, 192: stem + deeper}
    layers[768] = layers[192] + reduced + reduced
    layers[2048] = layers[768] + reduced
    first, apart = 0, 1
    for kernel, stride, padded in layers[features]:
        first += 0 if padded else apart * (kernel - 1) // 2
        apart *= stride
    layer = inception.LAYERS[features]
    assert (layer.first, layer.apart) == (first, apart)


def test_features_are_those_whose_middle_is_inside(stem_file, photograph):
    network = inception.load(str(stem_file))
    inside = np.zeros(photograph.shape[1:3], bool)
    inside[30:70, 50:90] = True
    found = network(photograph, inside)
    down, across = ((side - 3) // 2 - 1 for side in inside.shape)
    everything = network(photograph).reshape(down, across, 64)
    # The first has its middle at pixel 3, and they are 2 apart.
    np.testing.assert_array_equal(found, everything[14:34, 24:44].reshape(-1, 64))
    assert network(photograph, inside & False).shape == (0, 64)
    assert network(photograph[:, :8], inside[:8]) is None
