"""Trains a small fleet with one worker and with two, in turn, and checks it.

    python tests/benchmarks/fleet.py [ROUNDS] [any flag of train]

Eight photographs, of which one is torn. Each call must train seven runs, list the torn
one and end with status 1; called again, it must leave every run as it is. Prints the
seconds of one worker and of two, and their ratio, round by round. It means something
on an otherwise idle machine with at least two cores.
"""

import pathlib
import subprocess
import sys
import tempfile
import time

from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from singan_tf import images  # noqa: E402

NAMES = ("astronaut", "chelsea", "coffee", "gravel", "grass", "brick", "rocket")
FLAGS = ("--max_size=64", "--min_size=20", "--width=16", "--steps=150")


def make_photographs(folder: pathlib.Path) -> None:
    """Seven small photographs and half a one."""
    for name in NAMES:
        photograph = Image.open(images.resolve(name)).convert("RGB")
        photograph.resize((96, 64)).save(folder / f"{name}.png")
    whole = (folder / f"{NAMES[0]}.png").read_bytes()
    (folder / "torn.png").write_bytes(whole[: len(whole) // 2])


def call(photographs: pathlib.Path, runs: pathlib.Path, workers: int, flags) -> float:
    """Seconds of a call, which is checked."""
    command = [sys.executable, str(ROOT / "main.py"), "fleet", *FLAGS, *flags]
    command += [f"--images={photographs}/*.png", f"--runs_dir={runs}"]
    start = time.perf_counter()
    done = subprocess.run(
        [*command, f"--workers={workers}"], capture_output=True, text=True
    )
    seconds = time.perf_counter() - start
    assert done.returncode == 1, done.stderr
    assert "1 of 8 photographs could not be trained" in done.stderr, done.stderr
    assert f"  {photographs}/torn.png: " in done.stdout, done.stdout
    assert len(list(runs.glob("*/report/index.html"))) == len(NAMES), done.stdout
    return seconds


def stamps(runs: pathlib.Path) -> dict:
    """When each file of the runs was written."""
    files = (
        path for each in runs.iterdir() if each.is_dir() for path in each.rglob("*")
    )
    return {path: path.stat().st_mtime_ns for path in files if path.is_file()}


def main(rounds: int, flags: list) -> None:
    """Prints a line for each round."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        photographs = folder / "photographs"
        photographs.mkdir()
        make_photographs(photographs)
        for index in range(rounds):
            seconds = {}
            for workers in (1, 2) if index % 2 == 0 else (2, 1):
                runs = folder / f"{index}-{workers}"
                seconds[workers] = call(photographs, runs, workers, flags)
                before = stamps(runs)
                again = call(photographs, runs, workers, flags)
                assert stamps(runs) == before, "something was trained again"
                print(f"{workers} workers, called again: {again:.0f} s", flush=True)
            print(
                f"1 worker {seconds[1]:.0f} s, 2 workers {seconds[2]:.0f} s, "
                f"ratio {seconds[2] / seconds[1]:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    given = sys.argv[1:]
    count = int(given.pop(0)) if given and given[0].isdigit() else 2
    main(count, given)
