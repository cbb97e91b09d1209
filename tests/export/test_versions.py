"""Versions that come and go below a server, while it is called."""

import concurrent.futures
import shutil
import signal
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import pytest
from helpers import ROOT
from serving_helpers import (
    ENDLESS,
    NAME,
    Client,
    State,
    eventually,
    request,
    save_toy,
    serving,
    taken_up,
)
from tensorflow_serving.apis import get_model_status_pb2

from export.servable import Servable

Code = grpc.StatusCode


def bring_in(version, place):
    """As a version should come: copied beside its place, then renamed."""
    copying = place.with_name("copying")
    shutil.copytree(version, copying)
    copying.rename(place)


def copy_slowly(source, target, seconds=0.02):
    """File by file, each in two pieces."""
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        data = path.read_bytes()
        with open(place, "wb", buffering=0) as file:
            for piece in (data[: len(data) // 2], data[len(data) // 2 :]):
                file.write(piece)
                time.sleep(seconds)


class Load:
    """Clients that call without a pause; their answers must fit their versions."""

    def __init__(self, client, threads=4):
        self._stop = threading.Event()
        self._seen = [[] for _ in range(threads)]
        self._pool = concurrent.futures.ThreadPoolExecutor(threads)
        self._futures = [
            self._pool.submit(self._call, client, seed) for seed in range(threads)
        ]

    def _call(self, client, seed):
        while not self._stop.is_set():
            version, product = client.multiply(seed)
            assert product == seed * version
            self._seen[seed].append(version)

    def reached(self, version):
        """Whether every client's last answer came from this version."""
        return all(seen[-1:] == [version] for seen in self._seen)

    def stop(self):
        """Versions in the order they answered, by client; raises their errors."""
        self._stop.set()
        for future in self._futures:
            future.result()
        self._pool.shutdown()
        return self._seen


def test_new_versions_are_swapped_in_under_load(base_path, toys):
    with serving(base_path) as client:
        load = Load(client)
        eventually(lambda: load.reached(1))
        (base_path / "notes").mkdir()
        copy_slowly(toys / "2", base_path / "2", seconds=0.1)
        eventually(lambda: load.reached(2))
        bring_in(toys / "3", base_path / "3")
        eventually(lambda: load.reached(3))
        for seen in load.stop():
            # Never back.
            assert seen == sorted(seen)
            assert set(seen) == {1, 2, 3}
        eventually(
            lambda: client.states() == {1: State.END, 2: State.END, 3: State.AVAILABLE}
        )
        assert client.refusal(request(version=2, seed=[1]))[0] == Code.NOT_FOUND


def test_the_old_version_goes_after_its_last_request(base_path, toys):
    with serving(base_path) as client:
        client.predict(request("slow", steps=[1]))
        running = taken_up(client, request("slow", steps=[10_000]))
        bring_in(toys / "2", base_path / "2")
        eventually(lambda: client.multiply(1)[0] == 2)
        assert client.states()[1] == State.UNLOADING
        assert running.result(120).model_spec.version.value == 1
        eventually(lambda: client.states()[1] == State.END)


@pytest.fixture
def warms_up(toys, base_path, monkeypatch):
    """An event, and a function that brings a version 2, whose warm-up waits for it."""
    goes_on = threading.Event()
    warm_up = Servable._warm_up

    def wait_and_warm_up(loading, path):
        if loading.version == 2:
            assert goes_on.wait(120)
        warm_up(loading, path)

    monkeypatch.setattr(Servable, "_warm_up", wait_and_warm_up)

    def bring(client):
        bring_in(toys / "2", base_path / "2")
        eventually(lambda: client.states().get(2) == State.LOADING)

    yield goes_on, bring
    goes_on.set()


def test_a_version_that_loads_takes_the_place_of_a_request(base_path, warms_up):
    goes_on, bring = warms_up
    with serving(base_path, workers=2) as client:
        bring(client)
        running = taken_up(client, request("slow", steps=[ENDLESS]), timeout=3)
        # Both are for the version before, one after the other.
        assert client.multiply(3) == (1, 3)
        eventually(running.done)
        assert running.code() == Code.DEADLINE_EXCEEDED
        assert client.states()[2] == State.LOADING
        goes_on.set()
        eventually(lambda: client.states()[2] == State.AVAILABLE)
        # And the place is given back.
        client.predict(request("slow", steps=[1]))
        running = taken_up(client, request("slow", steps=[ENDLESS]), timeout=5)
        assert client.multiply(3) == (2, 6)
        assert not running.done()


def test_one_worker_goes_on_while_a_version_loads(base_path, warms_up):
    goes_on, bring = warms_up
    with serving(base_path, workers=1) as client:
        bring(client)
        assert client.multiply(3) == (1, 3)
        assert client.states()[2] == State.LOADING
        goes_on.set()


def test_of_versions_that_come_meanwhile_only_the_highest_is_loaded(
    base_path, warms_up, toys
):
    goes_on, bring = warms_up
    with serving(base_path) as client:
        bring(client)
        for version in (3, 4, 5):
            bring_in(toys / "3", base_path / str(version))
        assert client.states() == {1: State.AVAILABLE, 2: State.LOADING}
        goes_on.set()
        eventually(lambda: client.multiply(1) == (5, 3))
        time.sleep(0.2)
        # 3 and 4 were never looked at.
        eventually(
            lambda: client.states() == {1: State.END, 2: State.END, 5: State.AVAILABLE}
        )


def test_taking_the_newest_away_goes_back(base_path, toys):
    shutil.copytree(toys / "3", base_path / "3")
    with serving(base_path) as client:
        assert client.multiply(2) == (3, 6)
        (base_path / "3").rename(base_path / "withdrawn")
        eventually(lambda: client.multiply(2) == (1, 2))
        # And nothing at all takes nothing away.
        (base_path / "1").rename(base_path / "gone")
        time.sleep(0.3)
        assert client.multiply(2) == (1, 2)


HALF = [
    ("saved_model.pb", "missing"),
    ("saved_model.pb", "half"),
    ("variables", "missing"),
    ("variables/variables.index", "missing"),
    ("variables/variables.index", "half"),
    ("variables/variables.data-00000-of-00001", "missing"),
    ("variables/variables.data-00000-of-00001", "half"),
    ("assets.extra/tf_serving_warmup_requests", "half"),
]


def test_half_copied_versions_wait_for_the_rest(base_path, toys):
    with serving(base_path) as client:
        for version, (name, damage) in enumerate(HALF, 2):
            shutil.copytree(toys / "3", base_path / "making")
            path = base_path / "making" / name
            if path.is_dir():
                shutil.rmtree(path)
            elif damage == "missing":
                path.unlink()
            else:
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            (base_path / "making").rename(base_path / str(version))
            expected = State.END
            if (name, damage) == ("saved_model.pb", "missing"):
                expected = State.START
            eventually(lambda: client.states().get(version) == expected)  # noqa: B023
            assert client.multiply(2)[0] == 1, name
        # The rest arrives, in the one before the last.
        version = len(HALF)
        shutil.copytree(toys / "3", base_path / str(version), dirs_exist_ok=True)
        eventually(lambda: client.multiply(2) == (version, 6))


def test_a_version_that_fails_its_warm_up_is_not_served(base_path, tmp_path):
    save_toy(tmp_path / "2", factor=2, warm_up=(1, np.nan))
    with serving(base_path) as client:
        (tmp_path / "2").rename(base_path / "2")
        eventually(lambda: client.states().get(2) == State.END)
        message = get_model_status_pb2.GetModelStatusRequest()
        message.model_spec.name = NAME
        message.model_spec.version.value = 2
        (status,) = client.model.GetModelStatus(message).model_version_status
        assert status.status.error_code == Code.INVALID_ARGUMENT.value[0]
        assert "warm-up" in status.status.error_message
        assert "scale must be finite" in status.status.error_message
        assert client.multiply(2) == (1, 2)


def test_a_server_that_starts_beside_a_half_copied_version_serves_the_one_below(
    base_path, toys
):
    (base_path / "2").mkdir()
    shutil.copy(toys / "2" / "saved_model.pb", base_path / "2")
    with serving(base_path) as client:
        assert client.multiply(2) == (1, 2)


# The command, in a process of its own


def start(run_dir):
    """A server's process and its client."""
    process = subprocess.Popen(
        [sys.executable, ROOT / "main.py", "serve", f"--run_dir={run_dir}", "--port=0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("Answering at 127.0.0.1:"):
            return process, Client(int(line.rstrip(".\n").rsplit(":", 1)[1])), lines
    raise AssertionError("".join(lines))


@pytest.mark.slow
def test_killed_under_load_it_comes_back_with_the_accepted_version(tmp_path, toys):
    base_path = tmp_path / NAME / "saved_model"
    shutil.copytree(toys / "1", base_path / "1")
    process, client, lines = start(tmp_path / NAME)
    try:
        assert "development and small installations" in lines[0]
        shutil.copytree(toys / "2", base_path / "making")
        (base_path / "making").rename(base_path / "2")
        load = Load(client)
        eventually(lambda: client.multiply(1)[0] == 2)
        # Killed while the next one arrives.
        (base_path / "3").mkdir()
        shutil.copy(toys / "3" / "saved_model.pb", base_path / "3")
        process.kill()
        process.wait(120)
        with pytest.raises(grpc.RpcError):
            load.stop()
        process, client, _ = start(tmp_path / NAME)
        assert client.multiply(1) == (2, 2)
        shutil.copytree(toys / "3", base_path / "3", dirs_exist_ok=True)
        eventually(lambda: client.multiply(1) == (3, 3))
        client.predict(request("slow", steps=[1]))
        running = client.predict_async(request("slow", steps=[500]))
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert running.code() == Code.OK
        assert process.wait(30) == 0
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.wait(120)
