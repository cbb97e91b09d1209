"""The exported model in NumPy, tf.data and Keras."""

import pickle
import shutil
import subprocess
import sys
from concurrent import futures

import numpy as np
import pytest
import tensorflow as tf
from helpers import ROOT, pixels, png

from export.pipeline import Pipeline, SignatureLayer, find_version, read_signatures
from singan_tf.keras2 import HAS_ADDONS

SIZE = {"height": 44, "width": 66}


@pytest.fixture(scope="module")
def pipeline(exported):
    return Pipeline(exported.parent, "sample")


def test_samples_are_those_of_main_to_the_last_bit(pipeline, sampled):
    outputs = pipeline({"seed": [3, 4], **SIZE})
    assert set(outputs) == {"image"} and outputs["image"].dtype == np.uint8
    np.testing.assert_array_equal(outputs["image"], sampled)
    files = pipeline({"seed": [3, 4], **SIZE}, "sample_png")["image_bytes"]
    np.testing.assert_array_equal([pixels(file) for file in files], sampled)


def test_defaults_are_filled_in(pipeline):
    whole = {"start_scale": 0, "height": 32, "width": 48, "noise_scale": 1.0}
    images = pipeline({"seed": [7, 8]})["image"]
    np.testing.assert_array_equal(images, pipeline({"seed": [7, 8], **whole})["image"])
    photograph = pipeline({"seed": 0}, "reconstruct")["image"]
    edit = {"image": photograph, "injection_scale": 1}
    mask = np.full([32, 48, 1], 255)
    np.testing.assert_array_equal(
        pipeline(edit, "edit")["image"],
        pipeline({**edit, "mask": mask}, "edit")["image"],
    )
    files = {"image_bytes": png(photograph[0]), "injection_scale": 1}
    (file,) = pipeline(files, "edit_png")["image_bytes"]
    np.testing.assert_array_equal(pixels(file), pipeline(edit, "edit")["image"][0])


def test_an_input_without_rows_serves_all(pipeline):
    photograph = pipeline({"seed": 0}, "reconstruct")["image"][0]
    inputs = {"image": photograph, "factor": 1.5, "seed": [1, 2]}
    both = pipeline(inputs, "super_resolve")["image"]
    second = pipeline({**inputs, "seed": 2}, "super_resolve")["image"]
    assert both.shape == (2, 48, 72, 3)
    np.testing.assert_array_equal(both[1], second[0])


@pytest.mark.parametrize(
    "inputs, signature, said",
    [
        ({}, "sample", "sample needs seed"),
        ({"seed": 1, "sed": 1}, "sample", "no input sed; it takes height"),
        ({"seed": [1.0]}, "sample", "seed must be int64, not float64"),
        ({"seed": True}, "sample", "seed must be int64, not bool"),
        ({"seed": 1, "height": 2**31}, "sample", "height must be int32, not int64"),
        ({"seed": 1, "noise_scale": "1"}, "sample", "noise_scale must be float32"),
        ({"seed": [[1]]}, "sample", "seed must have 1 dimensions, not 2"),
        ({"image_bytes": "text"}, "super_resolve_png", "image_bytes must be bytes"),
        ({"seed": 1}, "smple", "no signature smple; choose from edit"),
        ({"seed": [1, 2], "height": [44, 45]}, "sample", "height must be the same"),
        ({"seed": 1, "start_scale": 99}, "sample", "start_scale must be from 0 to"),
        ({"seed": 1, "noise_scale": np.nan}, "sample", "noise_scale must be from 0"),
    ],
)
def test_what_cannot_work_is_a_sentence(pipeline, inputs, signature, said):
    with pytest.raises(ValueError, match=said) as refused:
        pipeline(inputs, signature)
    assert "\n" not in str(refused.value) and "node" not in str(refused.value)


def test_what_a_decoder_refuses_is_a_sentence(pipeline):
    """An error in the model's graph that the model does not phrase."""
    file = bytearray(png(np.zeros([32, 48, 3], np.uint8)))
    file[-20] ^= 255
    with pytest.raises(ValueError) as refused:
        pipeline({"image_bytes": bytes(file)}, "super_resolve_png")
    message = str(refused.value)
    assert "PNG" in message and "\n" not in message and "node" not in message


def test_it_takes_the_highest_version(exported, tmp_path):
    for version in ("2", "10", "9.tmp", "11"):
        (tmp_path / version).mkdir()
    # 11 is still being copied.
    for version in ("2", "10", "9.tmp"):
        shutil.copy(exported / "saved_model.pb", tmp_path / version)
    assert find_version(tmp_path) == str(tmp_path / "10")
    assert find_version(f"{tmp_path}/") == str(tmp_path / "10")
    assert find_version(tmp_path / "2") == str(tmp_path / "2")
    for absent in (tmp_path / "11", tmp_path / "absent"):
        with pytest.raises(FileNotFoundError, match=absent.name):
            find_version(absent)
    assert set(read_signatures(find_version(tmp_path))) >= {"sample", "edit_png"}


def test_a_model_is_loaded_once_in_a_process(pipeline, exported):
    other = Pipeline(exported, "edit")
    assert other.model is pipeline.model
    assert pickle.loads(pickle.dumps(other)).model is pipeline.model
    assert pickle.loads(pickle.dumps(other)).signature == "edit"


@pytest.mark.slow
def test_a_pipeline_travels_to_another_process(pipeline, sampled, tmp_path):
    (tmp_path / "pipeline").write_bytes(pickle.dumps(pipeline))
    script = (
        "import pickle, sys, numpy as np\n"
        "with open(sys.argv[1], 'rb') as file:\n"
        "    pipeline = pickle.load(file)\n"
        "images = pipeline({'seed': [3, 4], 'height': 44, 'width': 66})['image']\n"
        "np.save(sys.argv[2], images)\n"
    )
    arguments = [str(tmp_path / "pipeline"), str(tmp_path / "images.npy")]
    subprocess.run([sys.executable, "-c", script, *arguments], check=True, cwd=ROOT)
    np.testing.assert_array_equal(np.load(tmp_path / "images.npy"), sampled)


def test_threads_may_share_a_pipeline(pipeline, sampled):
    def draw(seed):
        return pipeline({"seed": seed, **SIZE})["image"][0]

    with futures.ThreadPoolExecutor(4) as pool:
        images = list(pool.map(draw, [3, 4] * 4))
    np.testing.assert_array_equal(images, np.concatenate([sampled] * 4))


def test_tf_data_maps_rows_to_images(pipeline, sampled):
    def inputs(seed):
        return {"seed": seed, "height": tf.constant([44]), "width": tf.constant([66])}

    rows = tf.data.Dataset.range(3, 5).batch(1).map(inputs).map(pipeline.tensors)
    images = [row["image"][0] for row in rows.as_numpy_iterator()]
    np.testing.assert_array_equal(images, sampled)


@pytest.mark.parametrize(
    "inputs, said",
    [
        ({"seed": [3]}, "seed must be int64, not int32"),
        ({"sed": tf.constant([3], tf.int64)}, "no input sed"),
        ({}, "sample needs seed"),
    ],
)
def test_tensors_are_taken_as_they_are(pipeline, inputs, said):
    tensors = {name: tf.convert_to_tensor(value) for name, value in inputs.items()}
    with pytest.raises(ValueError, match=said):
        pipeline.tensors(tensors)


def test_a_keras_model_holds_a_signature(exported, sampled, tmp_path):
    inputs = {
        name: tf.keras.Input([], dtype=dtype, name=name)
        for name, dtype in (("seed", "int64"), ("height", "int32"), ("width", "int32"))
    }
    image = SignatureLayer(str(exported), "sample")(inputs)["image"]
    model = tf.keras.Model(inputs, tf.keras.layers.Rescaling(1 / 255)(image))
    arguments = {
        "seed": tf.constant([3, 4], tf.int64),
        "height": tf.constant([44]),
        "width": tf.constant([66]),
    }
    expected = sampled.astype(np.float32) / 255
    np.testing.assert_allclose(model(arguments), expected, atol=1e-6)
    assert model.weights == []

    model.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(
        tmp_path / "model.keras", custom_objects={"SignatureLayer": SignatureLayer}
    )
    np.testing.assert_array_equal(loaded(arguments), model(arguments))
    model.export(str(tmp_path / "exported"))
    saved = tf.saved_model.load(str(tmp_path / "exported"))
    (served,) = saved.signatures["serving_default"](**arguments).values()
    np.testing.assert_array_equal(served, model(arguments))


@pytest.mark.skipif(not HAS_ADDONS, reason="Keras 3 saves models by export alone")
def test_a_model_of_keras_2_is_saved_as_any_other(exported, tmp_path):
    seed = tf.keras.Input([], dtype="int64")
    model = tf.keras.Model(seed, SignatureLayer(str(exported))({"seed": seed}))
    tf.saved_model.save(model, str(tmp_path / "saved"))
    saved = tf.saved_model.load(str(tmp_path / "saved"))
    seeds = tf.constant([3], tf.int64)
    np.testing.assert_array_equal(saved(seeds)["image"], model(seeds)["image"])


def test_a_layer_keeps_numbers_as_they_are(exported):
    """Whatever Keras computes in elsewhere."""
    layer = SignatureLayer(str(exported), "sample", dtype="float16")
    inputs = {"seed": tf.constant([3], tf.int64), "noise_scale": tf.constant([0.3])}
    expected = Pipeline(exported)({"seed": 3, "noise_scale": np.float32(0.3)})["image"]
    np.testing.assert_array_equal(layer(inputs)["image"], expected)
