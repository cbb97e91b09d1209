import numpy as np
import pytest
from shapes import disk
from skimage import metrics

from singan_tf.measure.quality import quality

INSIDE = disk(40, 50, 18, 24, 15)


def test_psnr_and_ssim_are_those_of_what_is_inside():
    rng = np.random.default_rng(0)
    truth, image = rng.uniform(-1, 1, (2, 1, 40, 50, 3)).astype(np.float32)
    found = quality(image, truth, INSIDE)
    error = ((image - truth)[0][INSIDE].astype(np.float64) ** 2).mean()
    assert found["psnr"] == pytest.approx(10 * np.log10(4 / error))
    values = [
        metrics.structural_similarity(
            truth[0, y : y + 7, x : x + 7],
            image[0, y : y + 7, x : x + 7],
            data_range=2,
            channel_axis=-1,
        )
        for y in range(34)
        for x in range(44)
        if INSIDE[y : y + 7, x : x + 7].all()
    ]
    assert found["ssim"] == pytest.approx(np.mean(values), abs=1e-5)
    broken = np.where(INSIDE[:, :, np.newaxis], image, 5).astype(np.float32)
    changed = quality(broken, truth, INSIDE)
    assert (changed["psnr"], changed["ssim"]) == (found["psnr"], found["ssim"])
    same = np.where(INSIDE[:, :, np.newaxis], truth, image)
    assert quality(same, truth, INSIDE)["psnr"] is None
    assert quality(image, truth, disk(40, 50, 18, 24, 2))["ssim"] is None
