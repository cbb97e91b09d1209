import importlib.util
import os
import sys
import threading
import time

import pytest

from singan_tf.errors import UserError
from singan_tf.fleet import processes

WITH_BEAM = importlib.util.find_spec("apache_beam") is not None
HERE_AND_ON_BEAM = [
    None,
    pytest.param("", marks=pytest.mark.skipif(not WITH_BEAM, reason="needs Beam")),
]
# Two that run at a time meet; one alone gives up.
MEET = """
import pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
folder.mkdir()
deadline = time.monotonic() + 300
while len([each for each in folder.parent.iterdir() if each.is_dir()]) < 2:
    if time.monotonic() > deadline:
        sys.exit("alone")
    time.sleep(0.05)
"""


def never():
    return False


def python(script, *arguments):
    return [sys.executable, "-c", script, *map(str, arguments)]


@pytest.mark.parametrize("beam_flags", HERE_AND_ON_BEAM)
def test_workers_run_at_the_same_time(tmp_path, beam_flags):
    folders = [tmp_path / name for name in ("a", "b")]
    commands = {folder: python(MEET, folder) for folder in folders}
    assert processes.carry_out(commands, 2, never, beam_flags) == {}
    assert all(folder.is_dir() for folder in folders)


@pytest.mark.parametrize("beam_flags", HERE_AND_ON_BEAM)
def test_no_more_run_at_a_time_than_workers(tmp_path, beam_flags):
    script = "import sys, time; print(time.time()); time.sleep(0.2); print(time.time())"
    commands = {tmp_path / str(n): python(script) for n in range(4)}
    assert processes.carry_out(commands, 1, never, beam_flags) == {}
    spans = sorted(
        [float(line) for line in (tmp_path / f"{n}.log").read_text().split()]
        for n in range(4)
    )
    for (_, end), (start, _) in zip(spans, spans[1:]):
        assert end <= start


@pytest.mark.parametrize("beam_flags", HERE_AND_ON_BEAM)
def test_one_that_fails_is_told_and_stops_no_other(tmp_path, beam_flags):
    bad = "import sys; print('before'); sys.exit('error: no such luck.')"
    commands = {
        tmp_path / "deep" / "bad": python(bad),
        tmp_path / "good": python("print('fine')"),
    }
    errors = processes.carry_out(commands, 1, never, beam_flags)
    assert errors == {tmp_path / "deep" / "bad": "no such luck."}
    assert (tmp_path / "good.log").read_text() == "fine\n"
    # What is put right leaves no word of the failure.
    commands[tmp_path / "deep" / "bad"] = python("pass")
    assert processes.carry_out(commands, 1, never, beam_flags) == {}
    assert not list(tmp_path.rglob("*.error"))


@pytest.mark.parametrize("beam_flags", HERE_AND_ON_BEAM)
def test_what_is_stopped_is_asked_to_end_and_nothing_else_starts(tmp_path, beam_flags):
    script = """
import pathlib, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit("saved"))
pathlib.Path(sys.argv[1]).mkdir()
while True:
    signal.pause()
"""
    folders = [tmp_path / name for name in "abc"]
    commands = {folder: python(script, folder) for folder in folders}

    def two_run():
        return sum(folder.is_dir() for folder in folders) == 2

    with pytest.raises(processes.Interrupted):
        processes.carry_out(commands, 2, two_run, beam_flags)
    logs = [path.read_text() for path in tmp_path.glob("*.log")]
    assert logs == ["saved\n", "saved\n"]
    assert not list(tmp_path.glob("*.error"))


def test_a_job_of_a_cluster_is_not_waited_for(tmp_path, monkeypatch):
    """None of its commands runs in this process."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "there")
    ended = threading.Event()

    def job(pool, commands, flags):
        ended.wait(60)

    monkeypatch.setattr(processes, "_run_on_beam", job)
    began = time.monotonic()
    with pytest.raises(processes.Interrupted, match="the job .* goes on; cancel it"):
        commands = {tmp_path / "a": python("pass")}
        processes.carry_out(commands, 1, lambda: True, "--runner=FlinkRunner")
    assert time.monotonic() - began < 30
    ended.set()


def test_a_process_that_a_signal_ended_is_told_by_the_signal(tmp_path):
    script = """
import os, signal, sys
print("step 10/20", flush=True)
os.kill(os.getpid(), getattr(signal, sys.argv[1]))
"""
    names = ["SIGKILL", "SIGSEGV"]
    commands = {tmp_path / name: python(script, name) for name in names}
    errors = processes.carry_out(commands, 1, never)
    killed, crashed = (errors[tmp_path / name] for name in names)
    assert "signal 9 (Killed)" in killed and "memory" in killed
    assert "signal 11 (Segmentation fault)" in crashed and "memory" not in crashed


def test_what_an_earlier_attempt_said_is_no_reason_of_the_next(tmp_path):
    folder = tmp_path / "é"
    commands = {folder: python("import sys; sys.exit('error: the old reason.')")}
    assert processes.carry_out(commands, 1, never) == {folder: "the old reason."}
    commands = {folder: python("import sys; sys.exit(3)")}
    assert processes.carry_out(commands, 1, never) == {folder: "no word of why"}
    commands = {folder: python("import sys; sys.exit('error: anderer Grund: ü.')")}
    assert processes.carry_out(commands, 1, never) == {folder: "anderer Grund: ü."}
    assert "the old reason." in (tmp_path / "é.log").read_text()


@pytest.mark.parametrize(("given", "found"), [(None, "true"), ("false", "false")])
def test_a_process_takes_a_gpus_memory_as_it_needs_it(
    tmp_path, monkeypatch, given, found
):
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    if given:
        monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", given)
    script = "import os; print(os.environ['TF_FORCE_GPU_ALLOW_GROWTH'])"
    assert processes.carry_out({tmp_path / "a": python(script)}, 1, never) == {}
    assert (tmp_path / "a.log").read_text() == f"{found}\n"


def test_each_has_its_share_of_the_cores_and_of_the_named_gpus(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    script = (
        MEET + "import os\n"
        "print(os.environ['TF_NUM_INTRAOP_THREADS'], os.environ['OMP_NUM_THREADS'],"
        " os.environ['CUDA_VISIBLE_DEVICES'])"
    )
    commands = {tmp_path / name: python(script, tmp_path / name) for name in "ab"}
    assert processes.carry_out(commands, 2, never) == {}
    threads = str(max(1, len(os.sched_getaffinity(0)) // 2))
    said = sorted((tmp_path / f"{name}.log").read_text().split() for name in "ab")
    assert said == [[threads, threads, "4,6"], [threads, threads, "5"]]


def test_more_workers_than_gpus_share_them(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    script = MEET + "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    commands = {tmp_path / name: python(script, tmp_path / name) for name in "ab"}
    assert processes.carry_out(commands, 2, never) == {}
    assert {path.read_text() for path in tmp_path.glob("*.log")} == {"7\n"}


def test_watching_goes_on_while_commands_run(tmp_path):
    seen = threading.Event()
    script = "import pathlib, sys, time\n"
    script += "while not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.05)"

    def watch():
        (tmp_path / "seen").touch()
        seen.set()

    command = python(script, tmp_path / "seen")
    assert processes.carry_out({tmp_path / "x": command}, 1, never, watch=watch) == {}
    assert seen.is_set()


@pytest.mark.skipif(not WITH_BEAM, reason="needs Beam")
def test_a_runner_is_named_by_flags(tmp_path):
    flags = "--runner=BundleBasedDirectRunner --job_name=test"
    commands = {tmp_path / "a": python("print('ran')")}
    assert processes.carry_out(commands, 1, never, flags) == {}
    assert (tmp_path / "a.log").read_text() == "ran\n"


@pytest.mark.skipif(not WITH_BEAM, reason="needs Beam")
def test_an_unknown_runner_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="^Beam cannot go on: .*; see its flags.$"):
        processes.carry_out(
            {tmp_path / "a": python("pass")}, 1, never, "--runner=NoSuchRunner"
        )


def test_without_beam_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="requirements-beam.txt"):
        processes.carry_out({}, 1, never, "")
