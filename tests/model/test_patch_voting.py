import itertools

import numpy as np
import pytest
import tensorflow as tf

from singan_tf.model import patch_voting
from singan_tf.model.patch_voting import rearrange

RNG = np.random.default_rng(0)


def smooth(count, height, width):
    """Images whose patches have a few strong components, as photographs have."""
    noise = RNG.uniform(-1, 1, (count, height + 3, width + 3, 3))
    for axis in (1, 2):
        size = noise.shape[axis] - 3
        noise = sum(np.take(noise, range(i, size + i), axis) for i in range(4)) / 2
    return noise.astype(np.float32).clip(-1, 1)


QUERY = smooth(2, 24, 18)
PHOTOGRAPH, KEYS = (x[None] for x in smooth(2, 60, 62))


@pytest.fixture
def halvings(request, monkeypatch):
    """As often as asked for, where images this small would not be halved."""
    count = request.param
    monkeypatch.setattr(patch_voting, "_halvings", lambda *sides: count)
    return count


def windows(image, wrap=False):
    """All 7x7 patches, [rows, columns, 7 * 7 * C]."""
    if wrap:
        image = np.pad(image, [(0, 6), (0, 6), (0, 0)], "wrap")
    found = np.lib.stride_tricks.sliding_window_view(image, (7, 7), axis=(0, 1))
    found = np.moveaxis(found, 2, -1)
    return found.reshape(*found.shape[:2], -1)


def half(image):
    """The means of two by two pixels; borders go on up to the side of a patch."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    image = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2, -1)
    image = image.mean((1, 3))
    more = [(0, max(7 - side, 0)) for side in (height, width)]
    return np.pad(image, [*more, (0, 0)], "edge")


def matched(query, known, wrap, stride, halvings, alpha=0.002):
    """Corners [N, M, 2] and distances [N, M], place by place."""
    patches, keys = windows(query, wrap)[::stride, ::stride], windows(known)
    apart = int((known.shape[0] * known.shape[1] / 4000) ** 0.5) + 1
    seen = keys[::apart, ::apart].reshape(-1, keys.shape[2])
    seen = seen - seen.mean(0)
    basis = np.linalg.eigh(seen.T @ seen)[1][:, -24:]
    patches, keys = patches @ basis, keys @ basis
    last = np.array(keys.shape[:2]) - 1
    if halvings:
        coarse, _ = matched(half(query), half(known), wrap, 1, halvings - 1, alpha)
    scale = 49 * query.shape[2]

    def best_of(candidates):
        """The best of each place's candidates, and its distance."""
        distances = {
            (place, corner): ((patches[place] - keys[corner]) ** 2).sum() / scale
            for place, corners in candidates.items()
            for corner in corners
        }
        least = {}
        for (_, corner), distance in distances.items():
            least[corner] = min(distance, least.get(corner, np.inf))
        best = np.zeros([*patches.shape[:2], 2], int)
        fit = np.zeros(patches.shape[:2])
        for place, corners in candidates.items():
            scores = [distances[place, c] for c in corners]
            if alpha < np.inf:
                scores = [s / (alpha + least[c]) for s, c in zip(scores, corners)]
            best[place] = corners[int(np.argmin(scores))]
            fit[place] = distances[place, tuple(best[place])]
        return best, fit

    places = list(np.ndindex(patches.shape[:2]))
    if not halvings:
        return best_of(dict.fromkeys(places, list(np.ndindex(keys.shape[:2]))))
    leads = {}
    for place in places:
        begin = np.array(place) * stride
        leads[place] = []
        for beside in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)):
            there = (begin - 3) // 2 + beside
            there = there.clip(0, np.array(coarse.shape[:2]) - 1)
            lead = 2 * coarse[tuple(there)] + begin - 2 * there
            leads[place].append(tuple(lead.clip(0, last)))
    best, _ = best_of(leads)
    around = list(itertools.product((-1, 0, 1), repeat=2))
    return best_of(
        {p: [tuple((best[p] + a).clip(0, last)) for a in around] for p in places}
    )


def written_out(query, keys, photograph, iterations, wrap, stride, trust, alpha):
    """What `rearrange` says that it does, patch by patch, for one image in float64."""
    query, keys, photograph = (x.astype(float) for x in (query, keys, photograph))
    height, width = query.shape[:2]
    if not wrap:
        beyond = [(0, (7 - side) % stride) for side in (height, width)]
        query = np.pad(query, [*beyond, (0, 0)], "symmetric")
    along = np.exp(-((np.arange(7) - 3) ** 2) / (2 * 1.5**2))
    for iteration in range(iterations):
        known = photograph if iteration else keys
        best, fit = matched(query, known, wrap, stride, 0, alpha)
        unit = max(np.sort(fit.ravel())[int(trust * (fit.size - 1))], 1e-4)
        votes = np.exp(np.maximum(-fit / (2 * unit), -20))
        total, weights = np.zeros_like(query), np.zeros(query.shape[:2])
        for top, left in np.ndindex(fit.shape):
            for i, j in np.ndindex(7, 7):
                y, x = top * stride + i, left * stride + j
                place = (y % query.shape[0], x % query.shape[1])
                weight = votes[top, left] * along[i] * along[j]
                shown = best[top, left] + (i, j)
                total[place] += weight * photograph[tuple(shown)]
                weights[place] += weight
        query = total / weights[..., None]
    return query[:height, :width]


@pytest.mark.parametrize(
    ("wrap", "stride", "channels", "iterations", "trust", "alpha"),
    [
        (False, 1, 3, 2, 0.6, 0.002),
        (True, 1, 1, 1, 0.97, np.inf),
        (False, 2, 3, 1, 0.3, np.inf),
        (True, 2, 3, 2, 0.8, 0.1),
    ],
)
@pytest.mark.parametrize("halvings", [0], indirect=True)
def test_it_is_the_method_written_out(
    halvings, wrap, stride, channels, iterations, trust, alpha
):
    known = (x[:, :20, :22] for x in (KEYS, PHOTOGRAPH))
    images = [x[..., :channels] for x in (QUERY, *known)]
    made = rearrange(*images, iterations, wrap, stride, trust, alpha)
    query, keys, photograph = images[0][0], images[1][0], images[2][0]
    how = (iterations, wrap, stride, trust, alpha)
    expected = written_out(query, keys, photograph, *how)
    np.testing.assert_allclose(made[0], expected, atol=1e-3)


@pytest.mark.parametrize(("halvings", "side"), [(1, 32), (2, 60)])
@pytest.mark.parametrize(
    ("wrap", "stride", "alpha"),
    [(False, 1, 0.002), (False, 2, np.inf), (True, 2, 0.002)],
)
def test_large_photographs_are_searched_as_written_out(
    halvings, side, wrap, stride, alpha
):
    query, known = QUERY[0], PHOTOGRAPH[0, :side, : side + 2]
    places, distances = matched(
        query.astype(float), known.astype(float), wrap, stride, halvings, alpha
    )
    found = patch_voting._search(
        tf.constant(query), [tf.constant(known)], wrap, stride, halvings, alpha
    )
    same = (found.rows == places[..., 0]) & (found.columns == places[..., 1])
    # Where two fit alike, 32 bits may choose the other.
    assert np.mean(same) > 0.97
    np.testing.assert_allclose(found.distances, distances, atol=1e-2)
    np.testing.assert_allclose(found.distances[same], distances[same], atol=1e-4)


@pytest.mark.parametrize("halvings", [0, 2], indirect=True)
@pytest.mark.parametrize("stride", [1, 2])
def test_the_photograph_stays_as_it_is(halvings, stride):
    made = rearrange(PHOTOGRAPH, PHOTOGRAPH, PHOTOGRAPH, 3, stride=stride)
    # But for the border that only a patch with a mirrored row or column covers.
    kept = slice(None, -1 if stride > 1 else None)
    made, expected = (x[:, kept, kept] for x in (made, PHOTOGRAPH))
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_a_patch_that_does_not_fit_has_next_to_no_say():
    """White has no likeness in a dark photograph; beside it, what fits is as it is."""
    query = PHOTOGRAPH[:, :20, :20] * 0.4 - 0.6
    dark = PHOTOGRAPH * 0.4 - 0.6
    spoiled = query.copy()
    spoiled[:, 9:11, 9:11] = 1
    made = rearrange(spoiled, dark, dark, 1)
    np.testing.assert_allclose(made[:, :6], query[:, :6], atol=1e-4)
    assert made.numpy().max() <= dark.max() + 1e-6


@pytest.mark.parametrize("size", [(4, 9), (6, 6), (12, 5)])
@pytest.mark.parametrize("halvings", [0, 2], indirect=True)
def test_what_is_smaller_than_a_patch_is_mirrored(size, halvings):
    small = QUERY[:, : size[0], : size[1]]
    more = [(0, max(7 - side, 0)) for side in size]
    mirrored = np.pad(small, [(0, 0), *more, (0, 0)], "symmetric")
    made = rearrange(small, KEYS, PHOTOGRAPH, 2)
    whole = rearrange(mirrored, KEYS, PHOTOGRAPH, 2)
    np.testing.assert_allclose(made, whole[:, : size[0], : size[1]], atol=1e-6)


def test_large_photographs_are_halved_until_all_patches_are_looked_at():
    for sides, count in (
        ((56, 56), 0),
        ((100, 100), 1),
        ((250, 188), 2),
        ((1024, 1024), 5),
        # No smaller than two patches, however long.
        ((20, 3000), 0),
        ((40, 3000), 1),
    ):
        assert patch_voting._halvings(sides) == count


@pytest.mark.parametrize("shape", [QUERY.shape, [None, None, None, 3]])
@pytest.mark.parametrize("halvings", [0, 1], indirect=True)
def test_a_graph_gives_the_same_bits_and_a_row_is_its_own(shape, halvings):
    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)])
    def graph(query):
        return rearrange(query, KEYS, PHOTOGRAPH, 2, stride=2)

    eager = rearrange(QUERY, KEYS, PHOTOGRAPH, 2, stride=2)
    assert eager.shape == QUERY.shape
    for _ in range(2):
        np.testing.assert_array_equal(graph(QUERY), eager)
    for index in (0, 1):
        alone = rearrange(QUERY[index : index + 1], KEYS, PHOTOGRAPH, 2, stride=2)
        np.testing.assert_array_equal(alone[0], eager[index])


@pytest.mark.parametrize("halvings", [0, 2], indirect=True)
def test_several_photographs_are_searched_as_one(halvings):
    """Each is found in all of itself, in either order; a part of one as in it alone."""
    other = smooth(1, 66, 58)
    both = [PHOTOGRAPH, other]
    for image in both:
        for order in (both, both[::-1]):
            made = rearrange(image, order, order, 2, alpha=np.inf)
            np.testing.assert_allclose(made, image, atol=1e-4)
    # Half of one beside half of the other: the nearest is in its own half.
    query = np.concatenate([PHOTOGRAPH[:, :40, :30], other[:, :40, :30]], axis=2)
    made = rearrange(query, both, both, 1, alpha=np.inf).numpy()
    np.testing.assert_allclose(made[:, :, :20], query[:, :, :20], atol=1e-3)
    np.testing.assert_allclose(made[:, :, 40:], query[:, :, 40:], atol=1e-3)
    again = rearrange(query, both[::-1], both[::-1], 1, alpha=np.inf)
    np.testing.assert_allclose(made, again, atol=1e-3)
