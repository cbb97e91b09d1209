"""More steps after the end of a run are those that it could have had at the start."""

import pytest
from helpers import contents, copied
from run_folders import TINY, assert_same_run, measured, stored, train

from singan_tf import config, files
from singan_tf.errors import UsageError, UserError
from singan_tf.runs import loading
from singan_tf.runs.facts import Photograph
from singan_tf.runs.folder import Circumstances, RunFolder
from singan_tf.training import continuation, optimizers
from singan_tf.training.loop import Interrupted

pytestmark = pytest.mark.usefixtures("deterministic")


def longer(more=3, **settings):
    settings = config.from_settings({**TINY, **settings})
    return continuation.with_more_steps(settings, 1, more)


def test_a_constant_rate_goes_on_as_if_asked_for_at_the_start():
    found = longer(learning_rate_schedule="constant")
    expected = {**TINY, "steps": "0:4,1-:7", "learning_rate_schedule": "constant"}
    assert found == config.from_settings(expected)


@pytest.mark.parametrize(
    ("schedule", "stays"),
    [
        ({"learning_rate_schedule": "step", "decay_at": 0.5}, False),
        ({"learning_rate_schedule": "step", "decay_at": 1.0}, True),
        ({"learning_rate_schedule": "cosine"}, False),
        ({"learning_rate_schedule": "cosine", "decay_factor": 1.0}, True),
    ],
    ids=str,
)
def test_the_rate_of_the_steps_that_are_done_stays_what_it_was(schedule, stays):
    before, after = config.from_settings({**TINY, **schedule}), longer(**schedule)
    course = after.training.at(1).schedule_steps
    assert course == (0 if stays else 4)
    assert after.training.at(0) == before.training.at(0)
    rates = [
        optimizers.learning_rate_schedule(each.training, steps, 1e-3, updates=1)
        for each, steps in ((before, 4), (after, course or 7))
    ]
    for update in range(4):
        assert rates[0](update).numpy() == rates[1](update).numpy()
    if not stays:
        assert len({float(rates[1](update)) for update in range(4, 7)}) == 1


def test_more_steps_twice_are_as_many_at_once():
    once = longer(5, learning_rate_schedule="cosine")
    twice = continuation.with_more_steps(
        longer(2, learning_rate_schedule="cosine"), 1, 3
    )
    assert once == twice


def test_what_becomes_of_the_rate_is_told():
    constant = config.from_settings({**TINY, "learning_rate_schedule": "constant"})
    text = continuation.explain(constant, 1, 3)
    assert "Scale 1" in text and "gets 7 steps in place of 4, as if it had" in text
    cosine = {**TINY, "learning_rate_schedule": "cosine", "decay_factor": 0.05}
    text = continuation.explain(config.from_settings(cosine), 1, 3)
    assert "over 4 steps" in text and "0.05 of where it began" in text


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"patch_scales": 2}, "scale 1, the finest, is made of patches"),
        ({"decay_factor": 0.0}, "the learning rate is 0 at its end"),
    ],
    ids=str,
)
def test_what_cannot_go_on_is_refused(settings, part):
    with pytest.raises(UsageError, match=part):
        longer(**settings)


@pytest.mark.parametrize(
    ("known", "asked", "told"),
    [
        (Circumstances(1), 1, None),
        (Circumstances(1), 4, "samples in an update: 1 -> 4"),
        # Of an older version, which did not note the number.
        (Circumstances(), 1, "--global_batch_size: 0 -> 1"),
    ],
    ids=str,
)
def test_a_run_goes_on_where_its_batch_is_spelled_otherwise(
    tmp_path, known, asked, told
):
    constant = {"learning_rate_schedule": "constant"}
    photograph = Photograph("a.png", 24, 30, "0" * 64)
    run = RunFolder(tmp_path)
    before = config.from_settings({**TINY, **constant})
    run.open(before, photograph, circumstances=known).close()
    begun = continuation.begun(run, longer(global_batch_size=asked, **constant), 1)
    if told is None:
        run.open(begun, photograph, circumstances=Circumstances(asked)).close()
        return
    with pytest.raises(UserError, match=told) as caught:
        run.open(begun, photograph, circumstances=Circumstances(asked))
    assert "--steps" not in str(caught.value)


@pytest.mark.slow
def test_a_run_goes_on_after_its_end_as_it_would_have_from_the_start(coffee, tmp_path):
    """In pieces, one of them interrupted."""
    settings = {"learning_rate_schedule": "constant", "patch_scales": 1}
    train(coffee, tmp_path / "pieces", **settings)
    train(coffee, tmp_path / "pieces", more=1, **settings)
    stops = iter([True])
    with pytest.raises(Interrupted):
        train(coffee, tmp_path / "pieces", lambda: next(stops), more=3, **settings)
    train(coffee, tmp_path / "pieces", more=3, **settings)
    train(coffee, tmp_path / "whole", **{**settings, "steps": "0:4,1-:7"})
    assert_same_run(tmp_path / "whole", tmp_path / "pieces")
    assert measured(tmp_path / "whole", 1) == measured(tmp_path / "pieces", 1)
    assert RunFolder(tmp_path / "pieces").read() == RunFolder(tmp_path / "whole").read()
    for shown in ("samples.png", "scales/01/fake.png"):
        whole, pieces = ((tmp_path / n / shown) for n in ("whole", "pieces"))
        assert whole.read_bytes() == pieces.read_bytes()


KINDS = [
    {"learning_rate_schedule": "cosine", "decay_factor": 0.1},
    {
        "learning_rate_schedule": "step",
        "decay_at": 0.5,
        "adversary": "frechet",
        "patch_scales": 1,
    },
    {
        "moving_average": 0.5,
        "keep_best": 2,
        "patches_compete": True,
        "patch_scales": 1,
        "patch_votes": True,
        "previous_pool": 2,
        "crop_size": 16,
    },
]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_goes_on_as_the_same_settings_from_the_start(coffee, tmp_path, kind):
    before = train(coffee, tmp_path / "pieces", **kind)
    train(coffee, tmp_path / "pieces", more=3, **kind)
    train(coffee, tmp_path / "whole", more=3, **kind)
    assert_same_run(tmp_path / "whole", tmp_path / "pieces")
    after, _ = loading.load(RunFolder(tmp_path / "pieces"))
    assert len(after.stages) == len(before.stages)
    assert stored(tmp_path / "pieces")[len(after.stages) - 1, "losses"].count("\n") == 8


ONE_SCALE = {"num_scales": 1, "min_size": 20, "steps": 1}


@pytest.fixture(scope="module")
def finished_scale(deterministic, coffee, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one_scale") / "run"
    train(coffee, folder, **ONE_SCALE)
    return folder


@pytest.fixture
def ended(finished_scale, tmp_path):
    """A finished run of one scale and one step, to write into."""
    return copied(finished_scale, tmp_path / "ended")


def test_a_scale_without_its_optimizers_stays_finished(coffee, ended):
    for path in ended.glob("scales/00/step-000001.*"):
        path.unlink()
    before = contents(ended)
    with pytest.raises(UserError, match="cannot go on after its end") as caught:
        train(coffee, ended, more=2, **ONE_SCALE)
    assert "\n" not in str(caught.value) and "scales/00" in str(caught.value)
    assert contents(ended) == before
    loading.load(RunFolder(ended))


def test_a_run_goes_on_exactly_also_after_a_kill_while_it_is_opened_again(
    coffee, tmp_path, ended, monkeypatch
):
    before = (ended / "config.json").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("singan_tf.files.write_json", _killed_at("config.json"))
        with pytest.raises(KeyboardInterrupt):
            train(coffee, ended, more=1, **ONE_SCALE)
    assert (ended / "config.json").read_bytes() == before
    train(coffee, ended, more=1, **ONE_SCALE)
    assert RunFolder(ended).state(0).step == 2
    train(coffee, tmp_path / "whole", more=1, **ONE_SCALE)
    assert_same_run(tmp_path / "whole", ended)


def _killed_at(name):
    """Writes as `files.write_json`, but for one file."""
    write = files.write_json

    def written(path, data):
        if path.name == name:
            raise KeyboardInterrupt
        write(path, data)

    return written
