"""Seconds from a click in the studio to the picture on the screen; prints a table.

    python tests/benchmarks/studio.py --run_dir=RUN [--screenshot=FILE.png]

A real browser, as the tests of the studio drive it, brushes the middle of the
photograph over and clicks, five times each. The screenshot shows the last edit.
"""

import argparse
import pathlib
import statistics
import sys
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS.parent), str(TESTS), str(TESTS / "studio")]

import test_page as studio  # noqa: E402

CLICKS = 5


def seconds(driver, button: str, picture: str) -> float:
    """How long it takes until another picture is there than before the click."""
    before = addresses(driver, picture)
    start = time.perf_counter()
    studio.click(driver, button)
    while not addresses(driver, picture) - before:
        time.sleep(0.01)
    return time.perf_counter() - start


def addresses(driver, picture: str) -> set[str]:
    """Of the pictures that are shown and loaded."""
    script = """
        return Array.from(document.querySelectorAll(arguments[0]))
            .filter(each => each.complete && each.naturalWidth).map(each => each.src)
    """
    return set(driver.execute_script(script, f"{picture} img"))


def main() -> None:
    """Prints the median and the spread of each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run_dir", required=True)
    parser.add_argument("--screenshot")
    values = parser.parse_args()
    run_dir = pathlib.Path(values.run_dir).resolve()
    with studio.studio(f"--run_dir={run_dir}") as address:
        with studio.browser(1280, 1280) as driver:
            studio.open_page(driver, address)
            # What is done beforehand, while a person looks around.
            time.sleep(15)
            found = {"a sample": [], "an edit": []}
            for _ in range(CLICKS):
                found["a sample"].append(seconds(driver, "draw", "#samples"))
                # The others of the grid.
                time.sleep(5)
            studio.turn_to(driver, "Edit")
            studio.stroke(driver, "#edited")
            for _ in range(CLICKS):
                found["an edit"].append(seconds(driver, "blend", "#blended"))
                time.sleep(2)
            if values.screenshot:
                driver.execute_script("window.scrollTo(0, 0)")
                time.sleep(1)
                driver.save_screenshot(values.screenshot)
    print("| from the click to | seconds, median | least to most |")
    print("|---|---|---|")
    for name, times in found.items():
        spread = f"{min(times):.2f} to {max(times):.2f}"
        print(f"| {name} | {statistics.median(times):.2f} | {spread} |")


if __name__ == "__main__":
    main()
