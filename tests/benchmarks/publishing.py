"""How long a new version takes to become AVAILABLE, quiet and under full load.

    python tests/benchmarks/publishing.py RUN_DIR [--clients=8] [--rounds=3]

RUN_DIR is a run with an export. The local server serves a copy of it. In each round a
version is published while nobody calls, and another while so many clients call for
samples without a pause; both are timed from the folder's appearing to AVAILABLE. Under
load every answer must be that of the first version to the last bit.
"""

import contextlib
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent import futures

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from export import layout  # noqa: E402
from export.client import SinGANClient  # noqa: E402

PORT = 8766
NAME = "published"


def publish(base: pathlib.Path, client: SinGANClient) -> float:
    """Copies the highest version to the next number; seconds until AVAILABLE."""
    highest = max(layout.versions(base))
    shutil.copytree(base / str(highest), base / ".copy")
    (base / ".copy").rename(base / str(highest + 1))
    start = time.monotonic()
    while client.status().get(highest + 1) != "AVAILABLE":
        time.sleep(0.05)
    return time.monotonic() - start


@contextlib.contextmanager
def loaded(client: SinGANClient, clients: int, expected: np.ndarray):
    """Calls without a pause meanwhile; yields the latencies, in seconds."""
    stop, latencies = threading.Event(), []

    def call():
        while not stop.is_set():
            start = time.monotonic()
            np.testing.assert_array_equal(client.sample([1]), expected)
            latencies.append(time.monotonic() - start)

    with futures.ThreadPoolExecutor(clients) as pool:
        calls = [pool.submit(call) for _ in range(clients)]
        time.sleep(3)
        latencies.clear()
        yield latencies
        stop.set()
    for done in calls:
        done.result()


def main() -> None:
    """Prints a line for each round and the medians."""
    options = dict(a.lstrip("-").split("=") for a in sys.argv[2:])
    clients, rounds = int(options.get("clients", 8)), int(options.get("rounds", 3))
    with tempfile.TemporaryDirectory() as folder:
        base = pathlib.Path(folder, NAME, "saved_model")
        highest = max(layout.versions(pathlib.Path(sys.argv[1], "saved_model")))
        source = pathlib.Path(sys.argv[1], "saved_model", str(highest))
        shutil.copytree(source, base / "1")
        command = [sys.executable, str(ROOT / "main.py"), "serve"]
        command += [f"--run_dir={base.parent}", f"--port={PORT}"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            with SinGANClient(f"127.0.0.1:{PORT}", NAME, deadline=300) as client:
                deadline = time.monotonic() + 120
                while time.monotonic() < deadline:
                    with contextlib.suppress(Exception):
                        expected = client.sample([1])
                        break
                    time.sleep(0.5)
                print("| quiet s | loaded s | loaded / quiet | p50 s | most s |")
                print("|--:|--:|--:|--:|--:|")
                pairs = []
                for _ in range(rounds):
                    quiet = publish(base, client)
                    with loaded(client, clients, expected) as latencies:
                        pairs.append((quiet, publish(base, client)))
                    row = (*pairs[-1], pairs[-1][1] / quiet)
                    row += (statistics.median(latencies), max(latencies))
                    print("|", " | ".join(f"{x:.2f}" for x in row), "|", flush=True)
                ratio = statistics.median(b / a for a, b in pairs)
                print(f"median of loaded / quiet: {ratio:.2f}")
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
