import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from helpers import ROOT, contents, run, sentence
from run_folders import assert_same_run, stored

from singan_tf import files
from singan_tf.errors import UsageError
from singan_tf.runs.folder import RunFolder
from singan_tf.training import distribution
from singan_tf.training.distribution import local_batch_size, make_strategy

TWO_CPUS = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
from singan_tf.training.distribution import local_batch_size, make_strategy
from singan_tf.errors import UsageError
for name in ("auto", "one_device", "mirrored"):
    strategy = make_strategy(name)
    print(type(strategy).__name__, strategy.num_replicas_in_sync)
print(local_batch_size(strategy, 0), local_batch_size(strategy, 6))
context = tf.distribute.get_replica_context
ran = strategy.run(lambda: context().replica_id_in_sync_group)
print(sorted(int(x) for x in strategy.experimental_local_results(ran)))
try:
    local_batch_size(strategy, 3)
except UsageError as error:
    print(error)
"""
TWO_GPUS = """
import logging, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
devices = tf.config.list_logical_devices("CPU")
tf.config.list_logical_devices = lambda kind: devices
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
logging.getLogger("tensorflow").setLevel(logging.ERROR)
from singan_tf.training.distribution import make_strategy
for batch in (0, 4, 1, 3):
    strategy = make_strategy("auto", batch)
    print(type(strategy).__name__, strategy.num_replicas_in_sync)
print(type(make_strategy("mirrored", 1)).__name__)
"""
REPLICAS = [sys.executable, str(ROOT / "tests" / "replicas.py")]
ENVIRONMENT = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
ENVIRONMENT["PYTHONPATH"] = str(ROOT)
# What devices round differently, where nothing makes much of it.
TOLERANCE = 2e-5
AMPLITUDE = "stage/noise_amplitude/.ATTRIBUTES/VARIABLE_VALUE"


class Replicas:
    """All that `local_batch_size` asks of a strategy; more need more devices."""

    def __init__(self, count):
        self.num_replicas_in_sync = count


@pytest.mark.skipif(
    bool(tf.config.list_physical_devices("GPU")), reason="about a machine without GPUs"
)
@pytest.mark.parametrize("name", ["auto", "one_device"])
def test_a_machine_without_gpus_is_one_device(name):
    strategy = make_strategy(name)
    assert isinstance(strategy, tf.distribute.OneDeviceStrategy)
    assert strategy.num_replicas_in_sync == 1
    with strategy.scope():
        assert "CPU:0" in tf.Variable(1.0).device


@pytest.mark.parametrize(
    "replicas, global_batch_size, expected",
    [(1, 0, 1), (1, 5, 5), (2, 0, 1), (2, 2, 1), (2, 6, 3), (8, 64, 8)],
)
def test_a_batch_is_split_evenly(replicas, global_batch_size, expected):
    assert local_batch_size(Replicas(replicas), global_batch_size) == expected


@pytest.mark.parametrize("replicas, global_batch_size", [(2, 1), (2, 3), (8, 4)])
def test_an_uneven_batch_is_refused_with_what_would_work(replicas, global_batch_size):
    with pytest.raises(UsageError) as caught:
        local_batch_size(Replicas(replicas), global_batch_size)
    message = str(caught.value)
    assert f"batch size of {global_batch_size}" in message
    assert f"multiple of {replicas}" in message and "one_device" in message
    assert "\n" not in message


def lines_of(script):
    """What a script prints in a process of its own."""
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=ENVIRONMENT,
    )
    return result.stdout.splitlines()


def test_mirrored_takes_every_logical_cpu():
    *lines, error = lines_of(TWO_CPUS)
    assert lines == [
        "OneDeviceStrategy 1",
        "OneDeviceStrategy 1",
        "MirroredStrategy 2",
        "1 3",
        "[0, 1]",
    ]
    assert error.startswith("A global batch size of 3 cannot be split evenly over 2")


def test_auto_leaves_gpus_idle_over_which_a_batch_cannot_be_split():
    """Two logical CPUs are in the place of two GPUs."""
    told = "A global batch size of {} cannot be split evenly over 2 GPUs; one of them"
    found = [line.removesuffix(" trains.") for line in lines_of(TWO_GPUS)]
    assert found == [
        "MirroredStrategy 2",
        "MirroredStrategy 2",
        told.format(1),
        "OneDeviceStrategy 1",
        told.format(3),
        "OneDeviceStrategy 1",
        "MirroredStrategy",
    ]


def replicas(folder, **settings):
    """Trains 20 steps at each of two scales in a fresh process; see replicas.py."""
    done = subprocess.run(
        [*REPLICAS, folder, json.dumps(settings)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def assert_same_weights(first, second, trained=2):
    """Of every scale, with the moving averages of batch norm."""
    first, second = stored(first), stored(second)
    assert first.keys() == second.keys()
    names = [(scale, name) for scale, name in first if "_optimizer" not in name]
    assert sum("moving_variance" in name for _, name in names) == 8 * trained
    for key in names:
        a, b = first[key], second[key]
        if key[1] == "losses":
            a, b = (
                [[float(x) for x in row.split(",")] for row in table.splitlines()[1:]]
                for table in (a, b)
            )
        np.testing.assert_allclose(a, b, atol=TOLERANCE, err_msg=str(key))


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replicas") / "one"
    replicas(folder, strategy="one_device")
    return folder


@pytest.mark.slow
def test_two_devices_train_what_one_does_with_batch_norm(one_device, tmp_path):
    replicas(tmp_path / "two", strategy="mirrored")
    assert_same_weights(one_device, tmp_path / "two")


@pytest.mark.slow
def test_two_devices_train_above_a_scale_of_patches_as_one_does(tmp_path):
    """With a moving average of the weights, and a gradient that is reused."""
    settings = {"patch_scales": 1, "patch_iterations": 2, "moving_average": 0.5}
    settings.update(adversary_gradient="reused")
    for strategy in ("one_device", "mirrored"):
        replicas(tmp_path / strategy, strategy=strategy, **settings)
    first, second = tmp_path / "one_device", tmp_path / "mirrored"
    assert_same_weights(first, second, trained=1)
    # Found by bisection, and not what there would be without.
    assert 0 < stored(first)[(0, AMPLITUDE)] == stored(second)[(0, AMPLITUDE)]


@pytest.mark.slow
def test_two_devices_normalize_by_what_is_inside_as_one_does(tmp_path):
    for strategy in ("one_device", "mirrored"):
        replicas(tmp_path / strategy, strategy=strategy, masked=True, crop_size=16)
    assert_same_weights(tmp_path / "one_device", tmp_path / "mirrored")


@contextlib.contextmanager
def workers(command, folder):
    """Starts two workers of a cluster on this machine; gives a way to start one."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    started = []

    def start(index):
        config = {
            "cluster": {"worker": addresses},
            "task": {"type": "worker", "index": index},
        }
        with open(folder / f"{index}.log", "a") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**ENVIRONMENT, "TF_CONFIG": json.dumps(config)},
                cwd=folder,
            )
        started.append(process)
        return process

    try:
        yield start
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.mark.cluster
def test_two_workers_train_what_one_device_does_with_batch_norm(one_device, tmp_path):
    settings = json.dumps({"strategy": "multi_worker"})
    with workers([*REPLICAS, tmp_path / "two", settings], tmp_path) as start:
        statuses = [each.wait(timeout=900) for each in (start(0), start(1))]
    assert statuses == [0, 0], (tmp_path / "0.log").read_text()[-3000:]
    assert_same_weights(one_device, tmp_path / "two")


def train_command(photograph, run_dir):
    """Of a scale of patches, and one that is trained."""
    flags = ["--num_scales=2", "--min_size=16", "--max_size=30", "--width=2"]
    flags += ["--patch_scales=1", "--patch_iterations=1"]
    flags += ["--critic_updates=1", "--generator_updates=1", "--steps=40"]
    flags += ["--checkpoint_seconds=0", "--log_steps=5", "--strategy=multi_worker"]
    flags += [f"--image={photograph}", f"--run_dir={run_dir}"]
    return [sys.executable, str(ROOT / "main.py"), "train", *flags]


def wait_for(has_come):
    deadline = time.monotonic() + 900
    while not has_come():
        assert time.monotonic() < deadline, "training did not come so far"
        time.sleep(0.05)


def is_open(run_dir):
    """What the chief does once the cluster has come together."""
    return (run_dir / "config.json").exists()


def is_between_scales(run_dir):
    return (run_dir / "scales" / "00" / "state.json").exists()


def is_within_a_scale(run_dir):
    state = files.read_json(run_dir / "scales" / "01" / "state.json")
    return state is not None and state["step"] >= 3


@pytest.fixture(scope="module")
def uninterrupted(photograph, tmp_path_factory):
    """A run of two workers, and the folder that they were started in."""
    folder = tmp_path_factory.mktemp("cluster")
    with workers(train_command(photograph, folder / "run"), folder) as start:
        statuses = [each.wait(timeout=900) for each in (start(0), start(1))]
    assert statuses == [0, 0], (folder / "0.log").read_text()[-3000:]
    return folder


@pytest.mark.cluster
def test_only_the_chief_writes_and_shows_progress(uninterrupted):
    made = {path.name for path in uninterrupted.iterdir()}
    assert made == {"run", "0.log", "1.log"}
    assert len(list((uninterrupted / "run" / "events").iterdir())) == 1
    chief, other = ((uninterrupted / f"{n}.log").read_text() for n in (0, 1))
    assert "step 40/40" in chief and "Report: " in chief
    assert "This is worker 1 at 127.0.0.1:" in other and "of 2 workers" in other
    assert "step" not in other and other.splitlines()[-1].startswith("Helped to write")


@pytest.mark.cluster
def test_a_finished_run_waits_for_no_other_worker(uninterrupted, photograph):
    before = contents(uninterrupted / "run")
    command = train_command(photograph, uninterrupted / "run")
    with workers(command, uninterrupted) as start:
        for index in (1, 0):
            assert start(index).wait(timeout=600) == 0
    assert contents(uninterrupted / "run") == before


@pytest.mark.cluster
@pytest.mark.parametrize(
    "kills",
    [((0, is_open), (1, is_between_scales), (0, is_within_a_scale))],
)
def test_killed_workers_end_in_a_resumed_and_finished_run(
    uninterrupted, photograph, tmp_path, kills
):
    """As under a scheduler, what ends in failure is started again."""
    run_dir, statuses, running = tmp_path / "run", {0: [], 1: []}, {}
    with workers(train_command(photograph, run_dir), tmp_path) as start:

        def keep_up(index):
            while statuses[index][-1:] != [0] and len(statuses[index]) < 9:
                running[index] = start(index)
                statuses[index].append(running[index].wait(timeout=900))

        threads = [threading.Thread(target=keep_up, args=[n]) for n in (0, 1)]
        for thread in threads:
            thread.start()
        for victim, moment in kills:
            wait_for(lambda moment=moment: moment(run_dir))
            running[victim].kill()
        for thread in threads:
            thread.join()
    assert statuses[0][-1] == statuses[1][-1] == 0
    failures = statuses[0][:-1] + statuses[1][:-1]
    assert failures.count(-signal.SIGKILL) == len(kills)
    assert set(failures) == {-signal.SIGKILL, distribution.WorkerLost.status}
    logs = "".join((tmp_path / f"{index}.log").read_text() for index in (0, 1))
    errors = [line for line in logs.splitlines() if line.startswith("error: ")]
    for lost in errors:
        assert "A worker of the cluster does not answer" in lost
        assert "start every worker that ends again" in lost
    assert "Traceback" not in logs
    assert_same_run(uninterrupted / "run", run_dir)


@pytest.mark.cluster
def test_a_worker_that_is_told_to_stop_stops_the_others(photograph, tmp_path):
    run_dir = tmp_path / "run"
    command = train_command(photograph, run_dir) + ["--steps=4000"]
    with workers(command, tmp_path) as start:
        processes = [start(0), start(1)]
        wait_for(lambda: is_within_a_scale(run_dir))
        processes[1].terminate()
        assert [each.wait(timeout=600) for each in processes] == [130, 130]
    state = RunFolder(run_dir).state(1)
    assert state.step % 5 == 0 and 0 < state.step < 4000
    for index in (0, 1):
        assert "all is saved; go on with" in (tmp_path / f"{index}.log").read_text()


@pytest.mark.cluster
def test_workers_with_different_settings_are_refused(photograph, tmp_path):
    command = train_command(photograph, tmp_path / "run")
    with workers(command, tmp_path) as start:
        first = start(0)
        # They would not even agree on when to agree.
        command.append("--log_steps=3")
        assert [each.wait(timeout=900) for each in (first, start(1))] == [1, 1]
    assert "different settings or photographs" in (tmp_path / "0.log").read_text()


def tf_config(cluster, kind="worker", index=0):
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    "text, said",
    [
        (None, "needs TF_CONFIG"),
        ("{", "in JSON"),
        ("[]", "TF_CONFIG is not like"),
        ("{}", "'cluster'"),
        (tf_config({"worker": ["a:1"]}, index=1), "there is no worker 1"),
        (tf_config({"worker": ["a:1"]}, "chief"), "'chief'"),
        (tf_config({"worker": ["a:1"], "ps": ["b:1"]}), "more than a chief and"),
    ],
)
def test_a_wrong_tf_config_is_told_in_a_sentence(
    monkeypatch, capsys, photograph, tmp_path, text, said
):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    command = train_command(photograph, tmp_path / "run")[2:]
    status, _, error = run(capsys, *command)
    assert status == 2 and said in sentence(error)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "cluster, kind, index, leads",
    [
        ({"worker": ["a:1", "b:1"]}, "worker", 0, True),
        ({"worker": ["a:1", "b:1"]}, "worker", 1, False),
        ({"chief": ["a:1"], "worker": ["b:1"]}, "chief", 0, True),
        ({"chief": ["a:1"], "worker": ["b:1"]}, "worker", 0, False),
    ],
)
def test_who_leads_a_cluster(monkeypatch, cluster, kind, index, leads):
    monkeypatch.setenv("TF_CONFIG", tf_config(cluster, kind, index))
    assert distribution.leads_cluster() == leads


def test_overwrite_does_not_go_with_a_cluster(capsys, photograph, tmp_path):
    command = train_command(photograph, tmp_path / "run")[2:]
    status, _, error = run(capsys, *command, "--overwrite")
    assert status == 2 and "delete" in sentence(error)


def test_a_run_of_one_process_agrees_with_itself():
    strategy = make_strategy("one_device")
    assert distribution.is_chief(strategy)
    assert distribution.from_chief(strategy, [3, -1]) == (3, -1)
    assert distribution.any_worker(strategy, True) is True
    assert distribution.any_worker(strategy, False) is False
