"""Rows that the server computes one by one, so that it can stop between them."""

import contextlib
import shutil
import subprocess
import sys
import time

import grpc
import numpy as np
import pytest
from png_files import grey_png
from serving_helpers import NAME, request, serving

from export import rows, servable
from export.servable import Refused, Servable

Code = grpc.StatusCode


@pytest.fixture(scope="module")
def by_rows(exported):
    """The export, loaded."""
    loaded = Servable(exported, NAME, 1)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def whole(exported, tmp_path_factory):
    """The same, as one from before its rows were told of: requests run whole."""
    folder = tmp_path_factory.mktemp("whole") / "1"
    shutil.copytree(exported, folder)
    (folder / "signatures.json").unlink()
    loaded = Servable(folder, NAME, 1)
    yield loaded
    loaded.close()


PHOTOGRAPHS = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), np.uint8)
PNGS_OF_SIZES = [grey_png(40, 50), grey_png(44, 52), grey_png(60, 48)]
ROWS = [
    request("sample", seed=[1, -2, 3], start_scale=[0, 1, 2], noise_scale=[1, 0.5, 2]),
    request(
        "serving_default", seed=[5], start_scale=[0, 1, 2], height=[40], width=[70]
    ),
    request("sample_png", seed=[1, 2, 3], height=[40, 44, 60], width=[60, 50, 48]),
    request("super_resolve", image=PHOTOGRAPHS, factor=[1.5], seed=[7, 8, 9]),
    request("super_resolve_png", image_bytes=PNGS_OF_SIZES, factor=[1, 1.5, 1.2]),
    request(
        "edit",
        image=PHOTOGRAPHS[:1],
        mask=PHOTOGRAPHS[..., :1],
        injection_scale=[1],
        seed=[1, 2, 3],
    ),
    request(
        "edit_png",
        image_bytes=PNGS_OF_SIZES,
        mask_bytes=[b"", grey_png(44, 52), b""],
        injection_scale=[2, 1, 1],
    ),
    request("reconstruct", seed=[1, 2, 3]),
    request("reconstruct_png", seed=[1, 2, 3]),
]


class Asked:
    """Says so often that somebody waits; then nobody does."""

    def __init__(self, times):
        self.times = times

    def __call__(self):
        self.times -= 1
        return self.times >= 0


@pytest.mark.slow
@pytest.mark.parametrize("message", ROWS, ids=lambda m: m.model_spec.signature_name)
def test_rows_alone_are_those_of_the_whole_request(by_rows, whole, message):
    asked = Asked(99)
    answer = by_rows.predict(message, is_awaited=asked)
    assert answer == whole.predict(message)
    # Before each of three rows, which reconstruct has not, and before the answer.
    name = message.model_spec.signature_name
    assert 99 - asked.times == (1 if name.startswith("reconstruct") else 4)


@pytest.mark.slow
def test_rows_too_large_for_an_answer_are_left_to_the_model(by_rows, monkeypatch):
    assert servable._MAX_ANSWER_BYTES == rows.MAX_ANSWER_BYTES
    expected = by_rows.predict(ROWS[0])
    monkeypatch.setattr(servable, "_MAX_ANSWER_BYTES", 1)
    asked = Asked(99)
    assert by_rows.predict(ROWS[0], is_awaited=asked) == expected
    # Before the first row, and before the answer to all.
    assert 99 - asked.times == 2


@pytest.mark.slow
def test_nothing_more_is_computed_when_nobody_waits(by_rows, whole):
    message = ROWS[0]
    for model, times in ((by_rows, 0), (by_rows, 2), (by_rows, 3), (whole, 0)):
        asked = Asked(times)
        with pytest.raises(Refused) as refused:
            model.predict(message, is_awaited=asked)
        assert refused.value.code == Code.CANCELLED
        assert asked.times == -1


TINY, BROKEN = grey_png(3, 3), grey_png(40, 50, rows=3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "message",
    [
        request("sample", seed=[1] * 9),
        request("sample", seed=[1, 2, 3], height=[40, 40]),
        request("sample", seed=[1, 2], height=[40, 41]),
        request("sample", seed=[1, 2], start_scale=[0, 99]),
        request("sample", seed=[1, 2, 3], noise_scale=[1, 1, np.nan]),
        request("sample_png", seed=[1, 2], height=[40, 0]),
        request("super_resolve", image=PHOTOGRAPHS[:2], factor=[1.5, 1.501]),
        request("super_resolve", image=PHOTOGRAPHS[:, :3], factor=[2]),
        request("super_resolve_png", image_bytes=[grey_png(40, 50), TINY]),
        request(
            "super_resolve_png", image_bytes=[grey_png(40, 50), BROKEN], factor=[1]
        ),
        request(
            "super_resolve_png", image_bytes=[grey_png(40, 50)] * 2, factor=[1, 17]
        ),
        request(
            "edit_png",
            image_bytes=[grey_png(40, 50)] * 2,
            mask_bytes=[b"", grey_png(40, 51)],
            injection_scale=[1],
        ),
    ],
)
def test_what_is_wrong_with_a_row_is_told_as_of_the_whole_request(
    by_rows, whole, message
):
    told = []
    for model in (by_rows, whole):
        with pytest.raises(Refused) as refused:
            model.predict(message)
        told.append((refused.value.code, str(refused.value)))
    assert told[0] == told[1]
    assert told[0][0] == Code.INVALID_ARGUMENT


SLOW = request("sample", seed=range(8), height=[256], width=[256])
QUICK = request("sample", seed=[1], height=[40], width=[50])
# Of times that the machine may stretch, and that show a fault by never being short, the
# least of so many counts.
TRIES = 3


@pytest.fixture
def one_worker(exported, tmp_path):
    """A function that starts a server of the export with one worker.

    It gives a client and the seconds that SLOW takes.
    """
    # Without the warm-up of the other signatures.
    ignore = shutil.ignore_patterns("assets.extra")
    shutil.copytree(exported, tmp_path / "1", ignore=ignore)
    with contextlib.ExitStack() as stack:

        def start():
            client = stack.enter_context(serving(tmp_path, workers=1))
            client.predict(SLOW)
            began = time.monotonic()
            client.predict(SLOW)
            return client, time.monotonic() - began

        yield start


def cancel(client, seconds):
    running = client.predict_async(SLOW)
    time.sleep(seconds)
    running.cancel()


CALLER = """
import sys, time, grpc
channel = grpc.insecure_channel(sys.argv[1])
call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
call.future(bytes.fromhex(sys.stdin.read()))
print("sent", flush=True)
time.sleep(60)
"""


def die(client, seconds):
    """A client's process is killed while its call runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", CALLER, f"localhost:{client.port}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.stdin.write(SLOW.SerializeToString().hex())
    process.stdin.close()
    assert process.stdout.readline() == "sent\n"
    time.sleep(seconds)
    process.kill()
    process.wait(120)


@pytest.mark.parametrize("leave", [cancel, die])
def test_a_call_that_nobody_waits_for_stops_at_the_next_row(one_worker, leave):
    client, seconds = one_worker()
    taken = []
    for _ in range(TRIES):
        leave(client, seconds / 16)
        start = time.monotonic()
        client.predict(QUICK)
        taken.append(time.monotonic() - start)
    # Of eight rows it has computed one, or two.
    assert min(taken) < seconds * 0.6


@pytest.mark.slow
def test_stopping_does_not_wait_for_a_call_that_nobody_waits_for(one_worker):
    shares = []
    for _ in range(TRIES):
        client, seconds = one_worker()
        cancel(client, seconds / 16)
        start = time.monotonic()
        client.server.stop()
        shares.append((time.monotonic() - start) / seconds)
    assert min(shares) < 0.6


def test_the_deadline_holds_over_all_rows(one_worker):
    client, seconds = one_worker()
    taken = []
    for _ in range(TRIES):
        start = time.monotonic()
        code, _ = client.refusal(SLOW, timeout=seconds / 2)
        assert code == Code.DEADLINE_EXCEEDED
        client.predict(QUICK)
        taken.append(time.monotonic() - start)
    assert min(taken) < seconds * 0.9
