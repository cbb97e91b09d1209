"""Kills commands and cuts the power at random moments, and counts what is lost.

    python tests/benchmarks/crashes.py kills [ROUNDS]
    sudo python tests/benchmarks/crashes.py power_cuts [ROUNDS]

In a round of kills, each command is killed (SIGKILL) once: whatever it has written by
then must be whole, the run that it works on unchanged, and the same command, given
again, must end with the same bytes as one that nobody has killed.

In a round of power cuts (Linux, as root), a run is trained, sampled and exported on an
ext4 of its own. At random moments the program is stopped and the file behind the file
system, which is all that a disk would hold, is copied. In each copy, what has a name
must be whole, and training, gone on with there, must end with the bytes of a run that
was never cut.

Prints a line for each, and at the end how many lost something; exits with 1 if any did.
What is only shown and written many times a minute, the table of timings and
TensorBoard's events, may be cut short.
"""

import contextlib
import csv
import filecmp
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from export import layout, verify  # noqa: E402

PROGRAM = [sys.executable, str(ROOT / "main.py")]
RUN = pathlib.Path("runs", "run")
TRAIN = ["train", "--image=coffee", f"--run_dir={RUN}", "--max_size=40"]
TRAIN += ["--num_scales=2", "--width=8", "--steps=150", "--checkpoint_seconds=0.2"]
ON_RUN = f"--run_dir={RUN}"
COMMANDS = {
    "train": TRAIN,
    "sample": ["sample", ON_RUN, "--num_samples=20", "--overwrite"],
    "super_resolve": ["super_resolve", ON_RUN, "--factor=8", "--overwrite"],
    "animate": ["animate", ON_RUN, "--frames=40", "--overwrite"],
    "paint": ["paint", ON_RUN, "--input=coffee", "--quantize", "--overwrite"]
    + ["--injection_scale=1"],
    "inpaint": ["inpaint", ON_RUN, "--mask=mask.png", "--overwrite"],
    "evaluate": ["evaluate", ON_RUN, "--num_samples=10", "--overwrite"],
    "report": ["report", ON_RUN],
    "export": ["export", ON_RUN],
}
# They write into the run itself.
WRITING = ("train", "report", "export")
SHOWN_ONLY = ("timings.csv", "metrics.csv", "index.html")


def start(arguments: list, folder: pathlib.Path) -> subprocess.Popen:
    """A command in a process, in a folder."""
    return subprocess.Popen(
        [*PROGRAM, *arguments],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(arguments: list, folder: pathlib.Path) -> str:
    """Carries a command out; what it said if it failed."""
    process = start(arguments, folder)
    _, said = process.communicate()
    return said.strip().splitlines()[-1] if process.returncode else ""


def visible(folder: pathlib.Path) -> dict:
    """The files below a folder that have their names, by their place in it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in place.parts)
        if path.is_file() and not hidden and "events" not in place.parts:
            found[place] = path
    return found


def broken(folder: pathlib.Path) -> list:
    """What has its name and is not whole, with the reason."""
    reasons = []
    for place, path in visible(folder).items():
        try:
            look_at(path)
        except Exception as error:
            reasons.append(f"{place}: {type(error).__name__} {error}")
    for base in folder.rglob("saved_model"):
        for version in layout.versions(base):
            try:
                verify.read_meta_graph(base / str(version))
                layout.read_golden(base / str(version))
            except Exception as error:
                reasons.append(f"version {version}: {type(error).__name__} {error}")
    return reasons


def look_at(path: pathlib.Path) -> None:
    """Reads a file to its end, as what its name says it is."""
    if path.suffix in (".png", ".webp", ".gif"):
        Image.open(path).load()
    elif path.suffix == ".json":
        json.loads(path.read_text())
    elif path.suffix == ".npz":
        dict(np.load(path))
    elif path.suffix == ".html":
        assert path.read_text().endswith("</html>\n"), "cut short"
    elif path.suffix == ".csv" and path.name != "timings.csv":
        text = path.read_text()
        assert text.endswith("\n") and len(set(map(len, csv.reader(text.split())))) == 1
    elif path.suffix == ".pb":
        assert path.stat().st_size, "empty"


def different(folder: pathlib.Path, other: pathlib.Path) -> list:
    """Files that two folders do not have alike, but for what tells of times."""
    ours, theirs = visible(folder), visible(other)
    places = {
        place
        for place in {*ours, *theirs}
        if place.name not in SHOWN_ONLY and "saved_model" not in place.parts
    }
    return [
        str(place)
        for place in sorted(places)
        # A kill may leave another checkpoint than the last but one.
        if not (place.name.startswith("step-") and place not in theirs)
        and not (
            place in ours
            and place in theirs
            and filecmp.cmp(ours[place], theirs[place], shallow=False)
        )
    ]


def make_reference(work: pathlib.Path) -> pathlib.Path:
    """A folder in which every command has been carried out undisturbed."""
    reference = work / "reference"
    reference.mkdir()
    mask = np.zeros([40, 40], np.uint8)
    mask[10:20, 10:20] = 255
    Image.fromarray(mask).save(work / "mask.png")
    shutil.copy(work / "mask.png", reference)
    return reference


def kills(rounds: int) -> int:
    """Kills each command as often as there are rounds; how many lost something."""
    draw, killed, lost = random.Random(0), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        reference = make_reference(work)
        for name, command in COMMANDS.items():
            begun = time.monotonic()
            error = finish(command, reference)
            assert not error, error
            lasted = time.monotonic() - begun
            for _ in range(rounds):
                # Before that, a command is mostly loading TensorFlow.
                after = draw.uniform(0.6, 1) * lasted
                found = kill(name, command, after, work, reference)
                if found is None:
                    print(f"{name}: had ended before {after:.1f} s", flush=True)
                    continue
                killed += 1
                lost += bool(found)
                said = "; ".join(found) or "nothing lost"
                print(f"{name}, killed after {after:.1f} s: {said}", flush=True)
    print(f"{killed} kills, {lost} lost something")
    return lost


def kill(name: str, command: list, after: float, work, reference):
    """What a kill after some seconds has cost; None if the command had ended."""
    folder = work / "killed"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(work / "mask.png", folder)
    if name != "train":
        shutil.copytree(reference / RUN, folder / RUN)
        shutil.rmtree(folder / RUN / "saved_model", ignore_errors=True)
    process = start(command, folder)
    time.sleep(after)
    if process.poll() is not None:
        return None
    process.kill()
    process.communicate()
    found = broken(folder)
    if name not in WRITING:
        found += different(folder / RUN, reference / RUN)
    error = finish(command, folder)
    found += [error] if error else []
    found += different(folder / RUN, reference / RUN)
    outputs = pathlib.Path("outputs", RUN.name, name)
    if name not in WRITING:
        found += different(folder / outputs, reference / outputs)
    return found + broken(folder)


@contextlib.contextmanager
def mounted(disk: pathlib.Path, place: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file as the disk behind a folder."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", disk, place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def power_cuts(rounds: int) -> int:
    """Cuts the power some times in each round; how many cuts lost something."""
    draw, cuts, lost = random.Random(0), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        reference = make_reference(work)
        error = finish(TRAIN, reference)
        assert not error, error
        for _ in range(rounds):
            disk = work / "disk"
            with open(disk, "wb") as file:
                file.truncate(256 << 20)
            subprocess.run(["mkfs.ext4", "-q", "-F", disk], check=True)
            with mounted(disk, work / "live") as live:
                for name in ("train", "sample", "export"):
                    for copy in cut(COMMANDS[name], live, disk, draw):
                        cuts += 1
                        found = after_cut(copy, work, reference)
                        lost += bool(found)
                        said = "; ".join(found) or "nothing lost"
                        print(f"cut in {name}: {said}", flush=True)
    print(f"{cuts} power cuts, {lost} lost something")
    return lost


def cut(command: list, live: pathlib.Path, disk: pathlib.Path, draw) -> Iterator:
    """Carries a command out on a disk; copies of the disk at random moments."""
    process = start(command, live)
    # The program has to load TensorFlow before anything happens.
    time.sleep(4)
    while process.poll() is None:
        time.sleep(draw.uniform(0.2, 2.5))
        process.send_signal(signal.SIGSTOP)
        copy = disk.with_name("cut")
        subprocess.run(["cp", "--sparse=always", disk, copy], check=True)
        yield copy
        process.send_signal(signal.SIGCONT)
    _, said = process.communicate()
    assert process.returncode == 0, said


def after_cut(copy: pathlib.Path, work: pathlib.Path, reference) -> list:
    """What is lost on a copied disk."""
    later = work / "resumed"
    shutil.rmtree(later, ignore_errors=True)
    with mounted(copy, work / "later") as disk:
        found = broken(disk)
        if not (disk / RUN).exists():
            return found
        shutil.copytree(disk / RUN, later / RUN)
    # The most that may be trained again: what was not saved yet.
    error = finish(TRAIN, later)
    return found + ([error] if error else different(later / RUN, reference / RUN))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    ways = {"kills": kills, "power_cuts": power_cuts}
    if len(sys.argv) < 2 or sys.argv[1] not in ways:
        sys.exit(__doc__)
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    sys.exit(1 if ways[sys.argv[1]](count) else 0)
