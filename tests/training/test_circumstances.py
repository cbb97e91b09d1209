import hashlib
import json

import pytest
import tensorflow as tf

from singan_tf import config
from singan_tf.errors import UsageError
from singan_tf.training import circumstances


@pytest.mark.parametrize(("asked", "found"), [(0, 1), (4, 4)])
def test_the_devices_decide_the_batch_where_the_setting_is_0(asked, found):
    settings = config.from_settings({"global_batch_size": asked})
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    assert circumstances.find(settings, strategy) == (found, None)
    assert circumstances.find(settings, None) == (asked or None, None)


def test_two_devices_have_two_samples_in_an_update_by_default():
    class Two:
        num_replicas_in_sync = 2

    assert circumstances.find(config.Config(), Two()).batch_size == 2
    with pytest.raises(UsageError, match="evenly"):
        circumstances.find(config.from_settings({"global_batch_size": 3}), Two())


def test_the_weights_count_where_a_texture_loss_needs_them(vgg_file):
    for weight in (0.0, 1.0):
        settings = {"texture_weight": weight, "vgg_weights": str(vgg_file)}
        found = circumstances.find(config.from_settings(settings), None)
        expected = hashlib.sha256(vgg_file.read_bytes()).hexdigest()
        assert found.vgg_sha256 == (expected if weight else None)


def test_a_run_notes_them(finished):
    noted = json.loads((finished / "config.json").read_text())["circumstances"]
    assert noted == {"batch_size": 1, "vgg_sha256": None}
