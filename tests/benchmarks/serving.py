"""The local server beside a call in one process: prints a Markdown table.

    python tests/benchmarks/serving.py RUN_DIR [--rounds=40]

RUN_DIR is a run with an export. Calls of one sample through the server and in this
process take turns, so that both meet the same noise; then four clients at once are set
against as many calls in a row. The last rows are the server's memory, in MiB.
"""

import pathlib
import re
import statistics
import subprocess
import sys
import time
from concurrent import futures

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from export.client import SinGANClient  # noqa: E402
from export.pipeline import Pipeline  # noqa: E402

CLIENTS = 4
MEMORY_REQUESTS = 2000


def timed(call, *arguments) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


def resident_mib(process: int) -> float:
    """A process's memory in RAM."""
    status = pathlib.Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def row(name: str, *values: float) -> None:
    """Prints a row: milliseconds, or what the name says."""
    print(f"| {name} | {' | '.join(f'{value:.2f}' for value in values)} |", flush=True)


def measure(client: SinGANClient, pipeline: Pipeline, server: int, rounds: int) -> None:
    """Prints the table."""

    def through_server(seed):
        client.sample([seed])

    def in_process(seed):
        pipeline({"seed": [seed]})

    for seed in range(3):
        through_server(seed), in_process(seed)
    pairs = [
        (1000 * timed(through_server, seed), 1000 * timed(in_process, seed))
        for seed in range(rounds)
    ]
    ratios = [ours / theirs for ours, theirs in pairs]
    print("| one sample | median | least | most |\n|---|---|---|---|")
    names = ("server, ms", "in process, ms")
    for name, values in zip(names, zip(*pairs)):
        row(name, statistics.median(values), min(values), max(values))
    row("server / in process", statistics.median(ratios), min(ratios), max(ratios))
    with futures.ThreadPoolExecutor(CLIENTS) as pool:
        gains = []
        for _ in range(5):
            seeds = range(rounds)
            ours = timed(lambda s: list(pool.map(through_server, s)), seeds)
            theirs = timed(lambda s: [in_process(seed) for seed in s], seeds)
            gains.append(theirs / ours)
        row(
            f"throughput, {CLIENTS} clients / in process",
            statistics.median(gains),
            min(gains),
            max(gains),
        )
        found = [resident_mib(server)]
        for start in range(0, MEMORY_REQUESTS, MEMORY_REQUESTS // 10):
            seeds = range(start, start + MEMORY_REQUESTS // 10)
            list(pool.map(lambda s: client.sample([s], height=64, width=64), seeds))
            found.append(resident_mib(server))
    name = f"server's MiB after {MEMORY_REQUESTS // 10} of {MEMORY_REQUESTS} requests"
    row(f"{name} and later: last, least, most", found[-1], *_range(found[1:]))
    row("before them", found[0], found[0], found[0])


def _range(values: list) -> tuple:
    return min(values), max(values)


def main() -> None:
    """Serves the run for as long as the measurements take."""
    run_dir = pathlib.Path(sys.argv[1])
    rounds = int(dict(a.split("=") for a in sys.argv[2:]).get("--rounds", 40))
    command = [sys.executable, str(ROOT / "main.py"), "serve", f"--run_dir={run_dir}"]
    server = subprocess.Popen([*command, "--port=8765"], stdout=subprocess.DEVNULL)
    try:
        with SinGANClient("127.0.0.1:8765", model=run_dir.resolve().name) as client:
            until = time.monotonic() + 300
            while time.monotonic() < until:
                try:
                    client.status()
                    break
                except Exception:
                    time.sleep(1)
            pipeline = Pipeline(str(run_dir / "saved_model"), "sample")
            measure(client, pipeline, server.pid, rounds)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
