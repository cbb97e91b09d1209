import numpy as np
import pytest
import tensorflow as tf

from singan_tf.training import losses

RNG = np.random.default_rng(0)
REAL = RNG.uniform(-1, 1, (3, 7, 8, 2))
FAKE = RNG.uniform(-1, 1, (3, 7, 8, 2))
MIXING = np.array([0.0, 0.3, 1.0])
KERNEL = RNG.normal(0, 0.5, (3, 3, 2, 1))


def linear(image, kernel=KERNEL):
    return tf.nn.conv2d(image, tf.cast(kernel, image.dtype), 1, "VALID")


def nonlinear(image, kernel=KERNEL):
    return linear(tf.sin(2 * linear(image, kernel)), kernel[:, :, :1])


def scores_of(critic, image):
    return critic(tf.constant(image)).numpy().sum()


def penalty(critic, dtype=tf.float64, rows=slice(None)):
    real, fake, mixing = (tf.constant(x[rows], dtype) for x in (REAL, FAKE, MIXING))
    return losses.gradient_penalty(critic, real, fake, mixing)


def numerical_gradient(critic, image, step=1e-5):
    gradient = np.empty_like(image)
    for index in np.ndindex(*image.shape):
        change = np.zeros_like(image)
        change[index] = step
        above, below = (
            scores_of(critic, image + change),
            scores_of(critic, image - change),
        )
        gradient[index] = (above - below) / (2 * step)
    return gradient


def test_mean_score_is_the_mean_of_each_map():
    scores = RNG.normal(size=(4, 5, 6, 1)).astype(np.float32)
    actual = losses.mean_score(tf.constant(scores))
    np.testing.assert_allclose(actual, [s.mean() for s in scores], atol=1e-6)


def test_reconstruction_is_the_mean_squared_error_of_each_image():
    actual = losses.reconstruction(
        tf.constant(REAL, tf.float32), tf.constant(FAKE, tf.float32)
    )
    expected = [np.mean((a - b) ** 2) for a, b in zip(REAL, FAKE)]
    assert actual.dtype == tf.float32
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_reconstruction_broadcasts_one_real_to_every_image():
    actual = losses.reconstruction(tf.constant(FAKE), tf.constant(REAL[:1]))
    expected = [np.mean((fake - REAL[0]) ** 2) for fake in FAKE]
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_penalty_of_a_linear_critic_has_a_closed_form():
    """A pixel's gradient is the sum of the taps under which some patch sees it."""
    gradient = np.zeros((7, 8, 2))
    for i, j in np.ndindex(3, 3):
        gradient[i : i + 5, j : j + 6] += KERNEL[i, j, :, 0]
    expected = np.mean((np.linalg.norm(gradient, axis=-1) - 1) ** 2)
    actual = penalty(linear, tf.float32)
    assert actual.dtype == tf.float32
    np.testing.assert_allclose(actual, [expected] * 3, rtol=1e-5)


@pytest.mark.parametrize("row", range(3))
def test_penalty_of_a_nonlinear_critic_equals_finite_differences(row):
    mixed = MIXING[row] * REAL[row] + (1 - MIXING[row]) * FAKE[row]
    gradient = numerical_gradient(nonlinear, mixed[None])
    expected = np.mean((np.linalg.norm(gradient, axis=-1) - 1) ** 2)
    np.testing.assert_allclose(penalty(nonlinear)[row], expected, rtol=1e-7)


def test_penalty_of_a_flat_critic_is_one_with_a_finite_gradient():
    kernel = tf.zeros([3, 3, 2, 1])
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        value = penalty(lambda image: linear(image, kernel), tf.float32)
    np.testing.assert_allclose(value, [1, 1, 1], atol=1e-5)
    assert np.all(np.isfinite(tape.gradient(value, kernel)))


@pytest.mark.parametrize("critic", [linear, nonlinear])
def test_penalty_trains_the_critic_along_its_numerical_gradient(critic):
    def of_kernel(kernel):
        return penalty(lambda image: critic(image, kernel))

    theoretical, numerical = tf.test.compute_gradient(
        of_kernel, [tf.constant(KERNEL)], delta=1e-5
    )
    assert theoretical[0].shape == (3, 18)
    np.testing.assert_allclose(theoretical[0], numerical[0], rtol=1e-5, atol=1e-6)


def test_penalty_of_a_row_depends_on_that_row_alone():
    singles = [penalty(nonlinear, rows=slice(i, i + 1)) for i in range(3)]
    assert all(single.shape == [1] for single in singles)
    np.testing.assert_allclose(penalty(nonlinear), tf.concat(singles, 0), rtol=1e-12)


def test_penalty_works_in_a_graph_with_unknown_sizes():
    image = tf.TensorSpec([None, None, None, 2], tf.float64)
    graph = tf.function(
        lambda *args: losses.gradient_penalty(nonlinear, *args),
        input_signature=[image, image, tf.TensorSpec([None], tf.float64)],
    )
    np.testing.assert_allclose(
        graph(REAL, FAKE, MIXING), penalty(nonlinear), rtol=1e-12
    )


INSIDE = np.ones([3, 7, 8, 1])
INSIDE[:, 4:, 5:] = INSIDE[:, :1] = 0
# A score of the critics below sees 3 x 3 or 5 x 5 pixels.
WHOLE = {
    critic: np.lib.stride_tricks.sliding_window_view(INSIDE[..., 0], (s, s), (1, 2))
    .min(axis=(3, 4))
    .astype(bool)[..., np.newaxis]
    for critic, s in ((linear, 3), (nonlinear, 5))
}


@pytest.mark.parametrize("critic", [linear, nonlinear])
def test_the_penalty_is_that_of_the_scores_that_see_only_the_inside(critic):
    whole = WHOLE[critic]
    other = np.where(INSIDE > 0, REAL, RNG.uniform(-9, 9, REAL.shape))
    found = [
        losses.gradient_penalty(
            critic, *map(tf.constant, (real, FAKE, MIXING, whole.astype(float)))
        )
        for real in (REAL, other)
    ]
    np.testing.assert_array_equal(*found)
    mixing = MIXING[:, None, None, None]
    mixed = mixing * REAL + (1 - mixing) * FAKE
    side = REAL.shape[1] - whole.shape[1] + 1
    for row in range(3):
        counted = whole[row : row + 1]

        def some(image, counted=counted):
            return critic(image) * counted

        gradient = numerical_gradient(some, mixed[row : row + 1])
        seen = np.zeros([7, 8], bool)
        for top, left in np.argwhere(counted[0, :, :, 0]):
            seen[top : top + side, left : left + side] = True
        norm = np.sqrt((gradient[0] ** 2).sum(axis=-1))[seen]
        expected = ((norm - 1) ** 2).mean()
        np.testing.assert_allclose(found[0][row], expected, rtol=1e-5)


def test_means_are_those_of_what_is_inside():
    inside = tf.constant(INSIDE)
    found = losses.reconstruction(tf.constant(FAKE), tf.constant(REAL), inside)
    squares = ((FAKE - REAL) ** 2).mean(axis=-1)
    expected = [row[mask] for row, mask in zip(squares, INSIDE[..., 0] > 0)]
    np.testing.assert_allclose(found, [row.mean() for row in expected])
    broken = np.where(INSIDE > 0, FAKE, 9.0)
    with tf.GradientTape() as tape:
        image = tf.constant(broken)
        tape.watch(image)
        value = losses.reconstruction(image, tf.constant(REAL), inside)
    np.testing.assert_array_equal(value, found)
    gradient = tape.gradient(value, image).numpy()
    assert (gradient[np.broadcast_to(INSIDE == 0, gradient.shape)] == 0).all()
    scores = tf.constant(REAL[..., :1])
    means = [row[mask].mean() for row, mask in zip(REAL[..., :1], INSIDE > 0)]
    np.testing.assert_allclose(losses.mean_score(scores, inside), means)
