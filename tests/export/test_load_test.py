import collections
import json
import math
import time

import numpy as np
import pytest
import tensorflow as tf
from benchmarks import load_test
from helpers import sentence
from serving_helpers import NAME, request, save_toy, serving


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    base_path = tmp_path_factory.mktemp("models")
    save_toy(base_path / "1", factor=1)
    with serving(base_path) as client:
        yield client


def main(capsys, *arguments):
    status = load_test.main(["load_test", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def load(**changes):
    settings = {"batch": 1, "clients": 2, "requests": 10, "seconds": 30, "deadline": 9}
    return load_test.Load(**{**settings, **changes})


def test_each_request_is_made_and_sent_once():
    made, sent = [], collections.Counter()

    def make(number):
        made.append(number)
        return number

    def predict(number, timeout):
        assert timeout == 9
        sent[number] += 1
        time.sleep(0.01)

    result = load_test.run(predict, make, load(clients=4, requests=50))
    assert sorted(made) == list(range(50))
    assert sent == collections.Counter(range(50))
    assert result.latencies.shape == (50,)
    assert np.all(result.latencies >= 0.01)
    # Four at a time.
    assert 50 * 0.01 / 4 <= result.elapsed < 50 * 0.01
    assert not result.errors


def test_it_ends_in_time(toy):
    result = load_test.run(
        toy.predict,
        lambda number: request("slow", steps=[20]),
        load(requests=10**9, seconds=0.5),
    )
    assert 0.5 <= result.elapsed < 5
    assert len(result.latencies) > 1


def test_errors_are_counted_by_code(toy):
    messages = [request(seed=[1]), request("nothing", seed=[1]), request(model="x")]
    result = load_test.run(
        toy.predict, lambda number: messages[number % 3], load(requests=9)
    )
    assert len(result.latencies) == 3
    assert result.errors == {"FAILED_PRECONDITION": 3, "NOT_FOUND": 3}


def test_a_row_has_quantiles_and_rates():
    result = load_test.Result(
        np.arange(1, 101) / 1000, collections.Counter(UNAVAILABLE=2), 4.0
    )
    assert load_test.table_row(load(batch=4), result) == (
        "| 4 | 2 | 100 | 2 UNAVAILABLE | 50.5 | 95.0 | 99.0 | 25.00 | 100.00 |"
    )
    nothing = load_test.Result(np.array([]), collections.Counter(), 1.0)
    assert "| 0 | 0 | - | - | - | 0.00 | 0.00 |" in load_test.table_row(load(), nothing)


def test_every_signature_of_an_export_can_be_loaded(served_export, exported, capsys):
    described = json.loads((exported / "signatures.json").read_text())["signatures"]
    for signature in described:
        status, out, error = main(
            capsys,
            f"--target=localhost:{served_export.port}",
            f"--model={NAME}",
            f"--signature={signature}",
            "--batch_sizes=1,2",
            "--concurrency=1,2",
            "--requests=3",
            "--height=40",
            "--width=50",
        )
        assert status == 0, error
        table = [line.strip("|").split("|") for line in out.splitlines()]
        assert len({len(row) for row in table}) == 1
        assert [[cell.strip() for cell in row[:4]] for row in table[2:]] == [
            [batch, clients, "3", "0"] for batch in "12" for clients in "12"
        ]
        assert all(math.isfinite(float(cell)) for row in table[2:] for cell in row)


def test_sizes_and_seeds_arrive(served_export):
    inputs = {
        "seed": np.int64(0),
        "height": np.int32(40),
        "width": np.int32(50),
    }
    spec = request("sample").model_spec
    first = load_test.request_of(spec, inputs, 2, 3)
    np.testing.assert_array_equal(tf.make_ndarray(first.inputs["seed"]), [6, 7])
    image = tf.make_ndarray(served_export.predict(first).outputs["image"])
    assert image.shape == (2, 40, 50, 3)


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        ([], 2, "--model is missing"),
        (["--model=toy", "more"], 2, "more is not a flag"),
        (["--model=toy", "--signatur=x"], 2, "Did you mean: signature"),
        (["--model=toy", "--batch_sizes=1,x"], 2, "--batch_sizes=1,x must be"),
        (["--model=toy", "--concurrency=0"], 2, "--concurrency=0 must be"),
        (["--model=toy", "--requests=1000000"], 2, "--requests"),
        (["--model=toy", f"--height={10**12}"], 2, "--height"),
        (["--model=toy", "--root_certificates=/no/ca.pem"], 1, "/no/ca.pem"),
        (["--model=other"], 1, "answers NOT_FOUND: Servable not found"),
        (["--model=toy"], 1, "--signature=sample is none of the model's: __saved"),
        (["--model=toy", "--signature=slow"], 1, "no value for the input steps"),
        (["--model=toy", "--target=127.0.0.1:1"], 1, "answers UNAVAILABLE"),
    ],
)
def test_what_cannot_be_tested_is_one_sentence(toy, capsys, arguments, status, part):
    found, _, error = main(capsys, f"--target=localhost:{toy.port}", *arguments)
    assert found == status
    assert part in sentence(error)


def test_images_to_send_that_are_too_large_are_refused(served_export, capsys):
    arguments = [f"--target=localhost:{served_export.port}", f"--model={NAME}"]
    arguments += ["--signature=super_resolve", "--height=100000", "--width=100000"]
    status, _, error = main(capsys, *arguments)
    assert status == 2
    assert "--height=100000 x --width=100000 must be at most" in sentence(error)


def test_help_says_how(capsys):
    status, out, _ = main(capsys, "--help")
    assert status == 0
    assert "python tests/benchmarks/load_test.py" in out
    assert "--concurrency" in out


def test_a_server_with_tls(tmp_path, pem, capsys):
    cert, key = pem
    save_toy(tmp_path / "1", factor=1)
    arguments = ["--model=toy", "--signature=invert", "--requests=2"]
    with serving(tmp_path, tls_cert=cert, tls_key=key) as client:
        target = f"--target=localhost:{client.port}"
        status, _, error = main(capsys, target, *arguments)
        assert (status, "UNAVAILABLE" in error) == (1, True)
        trusting = f"--root_certificates={cert}"
        status, out, error = main(capsys, target, trusting, *arguments)
        assert (status, error) == (0, "")
        assert len(out.splitlines()) == 8
