"""The studio in a real browser: Debian's chromium, without a window."""

import contextlib
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
from helpers import ROOT, pixels
from serving_helpers import NAME

from singan_tf import api, images
from singan_tf.runs.folder import RunFolder

webdriver = pytest.importorskip("selenium.webdriver")
axe_core_python = pytest.importorskip("axe_core_python")
from selenium.common.exceptions import StaleElementReferenceException  # noqa: E402
from selenium.webdriver import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (BROWSER and DRIVER), reason="apt-get install chromium chromium-driver"
    ),
]
PATIENCE = 300
# Faults of Gradio's own parts, which we cannot mend.
NOT_OURS = {"aria-allowed-attr"}


@contextlib.contextmanager
def studio(*flags, end_by=signal.SIGTERM):
    """The address of a studio in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "main.py", "studio", "--port=0", *flags],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        yield re.search(r"The studio is at (\S+)", line)[1]
    finally:
        process.send_signal(end_by)
        said = process.communicate(timeout=600)[0]
    assert process.returncode == 0 and said.endswith("The studio has ended.\n")


@contextlib.contextmanager
def browser(width=1280, height=1000):
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.add_argument(f"--window-size={width},{height}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def runs_dir(finished, tmp_path_factory):
    folder = tmp_path_factory.mktemp("studio") / "runs"
    shutil.copytree(finished, folder / "rocket")
    return folder


@pytest.fixture(scope="module")
def address(runs_dir):
    with studio(f"--runs_dir={runs_dir}") as found:
        yield found


@pytest.fixture
def page(address):
    with browser() as driver:
        open_page(driver, address)
        yield driver


def open_page(driver, address):
    """Opens the page, and waits until its fields are the model's."""
    driver.get(address)
    heights = "input[aria-label*='Height, pixels']"
    wait(driver, lambda: any(
        each.get_attribute("value")
        for each in driver.find_elements(By.CSS_SELECTOR, heights)))  # fmt: skip


def wait(driver, condition, patience=PATIENCE):
    # Parts are redrawn under its hands.
    ignored = (StaleElementReferenceException,)
    waiting = WebDriverWait(driver, patience, 0.1, ignored)
    return waiting.until(lambda _: condition())


def shown(driver, selector):
    return [
        each
        for each in driver.find_elements(By.CSS_SELECTOR, selector)
        if each.is_displayed()
    ]


def turn_to(driver, name):
    (tab,) = (
        each for each in shown(driver, "button[role=tab]") if each.text.strip() == name
    )
    driver.execute_script("arguments[0].click()", tab)


def click(driver, name):
    driver.execute_script("arguments[0].click()", driver.find_element(By.ID, name))


def download(driver, selector):
    """The files of the links in a part of the page, by name, as the page gets them."""
    script = """
        const [address, done] = arguments;
        fetch(address).then(r => r.arrayBuffer()).then(b =>
            done(Array.from(new Uint8Array(b))));
    """
    links = wait(driver, lambda: driver.find_elements(By.CSS_SELECTOR, selector))
    return {
        link.get_attribute("href").rpartition("/")[2]: bytes(
            driver.execute_async_script(script, link.get_attribute("href"))
        )
        for link in links
    }


def stroke(driver, selector):
    """Paints with the pointer across the middle of an editor."""
    before = settled(driver, selector)
    canvas = shown(driver, f"{selector} canvas")[0]
    actions = ActionChains(driver).move_to_element_with_offset(canvas, -40, 0)
    actions = actions.click_and_hold().move_by_offset(40, 15).move_by_offset(40, -15)
    actions.release().perform()
    wait(driver, lambda: settled(driver, selector) != before)


def settled(driver, selector):
    """What an editor shows, once that has stayed so for a second."""
    seen = None

    def stays():
        nonlocal seen
        canvas = wait(driver, lambda: shown(driver, f"{selector} canvas"))[0]
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
        time.sleep(1)
        before, seen = seen, canvas.screenshot_as_png
        return seen if seen == before else None

    return wait(driver, stays)


def requested(driver):
    """The hosts that the page has asked for something."""
    found = set()
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = urlsplit(message["params"]["request"]["url"])
            if url.scheme in ("http", "https", "ws", "wss"):
                found.add(url.hostname)
    return found


def test_samples_are_the_commands_and_nothing_leaves_the_machine(page, finished):
    click(page, "draw")
    wait(page, lambda: len(shown(page, "#samples img")) >= 4)
    line = wait(page, lambda: page.find_element(
        By.CSS_SELECTOR, ".command textarea").get_attribute("value"))  # fmt: skip
    assert line.startswith("python main.py sample --run_dir=")
    files = download(page, "[role=tabpanel] a[href*='seed_']")
    drawn = api.load(finished).sample(range(4))
    for seed in range(4):
        picture = pixels(files[f"seed_{seed:06d}.png"])
        np.testing.assert_array_equal(picture, images.to_uint8(drawn[seed]))
    assert requested(page) == {"localhost"}


def test_a_layout_is_carved_where_that_is_chosen(page, finished):
    turn_to(page, "Sample")
    box = wait(page, lambda: shown(page, "[role=tabpanel] input[type=checkbox]"))[0]
    page.execute_script("arguments[0].click()", box)
    click(page, "draw")
    selector = "[role=tabpanel] .command textarea"
    line = wait(page, lambda: next(
        (each.get_attribute("value") for each in shown(page, selector)
         if "--retarget" in each.get_attribute("value")), None))  # fmt: skip
    assert "--start_scale=1" in line and "--noise_scale" not in line
    files = download(page, "[role=tabpanel] a[href*='seed_']")
    model = api.load(finished)
    last = len(model.singan.sizes) - 1
    photograph = images.read(RunFolder(finished).real(last))[0]
    for seed in range(4):
        made = model.retarget(photograph, *model.size, seed)
        picture = pixels(files[f"seed_{seed:06d}.png"])
        np.testing.assert_array_equal(picture, images.to_uint8(made))
    page.execute_script("arguments[0].click()", box)


def test_strokes_are_painted(page):
    turn_to(page, "Paint")
    stroke(page, "#painting")
    click(page, "paint")
    wait(page, lambda: shown(page, "#painted img"))
    files = download(page, "[role=tabpanel] a[href$='painting.png']")
    (painting,) = (pixels(file) for file in files.values())
    # The canvas in one colour, and the stroke in it.
    colours, counts = np.unique(painting.reshape(-1, 3), axis=0, return_counts=True)
    assert len(colours) > 1 and counts.max() > painting[..., 0].size / 2


def test_a_brushed_mask_is_where_an_edit_changes(page):
    turn_to(page, "Edit")
    stroke(page, "#mask")
    click(page, "blend")
    wait(page, lambda: len(shown(page, "#blended img")) >= 3)
    files = download(page, "[role=tabpanel] a[href$='.png']")
    mask = pixels(files["mask.png"])
    # What was brushed alone, not the photograph that it was brushed over; the brush is
    # nearly as wide as that, so its left edge is looked at.
    assert mask.ndim == 2 and 0 < (mask[:, 0] == 255).mean() < 0.9
    before, after = pixels(files["input.png"]), pixels(files["scale_01_blended.png"])
    softened = pixels(files["softened_mask.png"])[..., 0]
    np.testing.assert_array_equal(after[softened == 0], before[softened == 0])


def test_a_stroke_over_a_sample_is_all_of_the_mask(page):
    turn_to(page, "Sample")
    click(page, "draw")
    wait(page, lambda: len(shown(page, "#samples button img")) >= 4)
    wait(page, lambda: page.find_elements(By.CSS_SELECTOR, "a[href*='seed_000003']"))
    first = shown(page, "#samples button img")[0]
    page.execute_script("arguments[0].closest('button').click()", first)
    # It is chosen when the server has heard of it.
    time.sleep(3)
    turn_to(page, "Edit")
    photograph = settled(page, "#edited")
    # Once: what came of a second time would wipe a stroke away.
    press(page, "The sample chosen last")
    wait(page, lambda: settled(page, "#edited") != photograph)
    stroke(page, "#edited")
    click(page, "blend")
    wait(page, lambda: len(shown(page, "#blended img")) >= 3)
    files = download(page, "[role=tabpanel] a[href$='.png']")
    mask = pixels(files["mask.png"])
    drawn = (pixels(files[name]) for name in files if name.startswith("seed_"))
    changed = min(
        ((pixels(files["input.png"]) != each).any(axis=2) for each in drawn),
        key=np.count_nonzero,
    )
    assert 0 < (mask == 255).mean() < 0.5
    np.testing.assert_array_equal(mask == 255, changed)


def test_a_sample_that_was_put_in_is_not_covered(page):
    turn_to(page, "Sample")
    click(page, "draw")
    wait(page, lambda: page.find_elements(By.CSS_SELECTOR, "a[href*='seed_000003']"))
    turn_to(page, "Edit")
    settled(page, "#edited")
    # Choosing a sample and asking for it, ever closer upon each other.
    for delay in range(330, 0, -30):
        page.execute_script(
            """
            const [delay] = arguments;
            document.querySelector('#samples button img').closest('button').click();
            const asking = [...document.querySelectorAll('button')].filter(
                each => each.checkVisibility() &&
                    each.textContent.trim() == 'The sample chosen last');
            setTimeout(() => asking[0].click(), delay);
            """,
            delay,
        )
        time.sleep(0.7)
        wait(page, lambda: not covered(page), patience=30)


def covered(driver):
    """Whether an editor shows progress."""
    return any(
        re.search(r"\d\.\ds", each.text)
        for each in shown(driver, "#edited [data-testid=status-tracker]")
    )


def press(driver, text):
    (button,) = wait(
        driver, lambda: [each for each in shown(driver, "button") if each.text == text]
    )
    driver.execute_script("arguments[0].click()", button)


def test_an_animation_that_is_cancelled_leaves_its_turn_to_others(page):
    turn_to(page, "Animate")
    frames = page.find_element(By.CSS_SELECTOR, "input[aria-label*='Frames']")
    page.execute_script(
        "arguments[0].value = 200; arguments[0].dispatchEvent(new Event('input'));",
        frames,
    )
    click(page, "animate")
    wait(page, lambda: "/200" in page.find_element(By.TAG_NAME, "body").text)
    press(page, "Cancel")
    turn_to(page, "Sample")
    click(page, "draw")
    wait(page, lambda: len(shown(page, "#samples img")) >= 4)
    assert not page.find_elements(By.CSS_SELECTOR, "a[href*='animation.']")


def test_a_picture_is_enlarged_and_moves(page):
    turn_to(page, "Enlarge")
    click(page, "enlarge")
    wait(page, lambda: shown(page, "#enlarged img"))
    turn_to(page, "Animate")
    click(page, "animate")
    wait(page, lambda: shown(page, "#animation img"))
    files = download(page, "[role=tabpanel] a[href*='animation.']")
    assert {"animation.webp", "animation.gif"} <= files.keys()


def test_a_dropped_photograph_is_trained_and_opened(address, runs_dir, photograph):
    with browser() as page:
        open_page(page, address)
        turn_to(page, "Train")
        (field,) = page.find_elements(By.CSS_SELECTOR, "#photograph input[type=file]")
        field.send_keys(str(photograph))
        wait(page, lambda: shown(page, "#preview img"))
        name = page.find_element(By.CSS_SELECTOR, "#name textarea, #name input")
        name.send_keys("dropped")
        choose(page, "#preset", "smoke")
        click(page, "train-start")
        wait(page, lambda: progress(page))
        time.sleep(1)
        # A page that is opened in the middle sees it, too.
        open_page(page, address)
        turn_to(page, "Train")
        wait(page, lambda: "dropped is trained" in progress(page))
        choose(page, "#model", "dropped")
        turn_to(page, "Sample")
        click(page, "draw")
        wait(page, lambda: shown(page, "#samples img"))
    assert (runs_dir / "dropped" / "report" / "index.html").exists()


def choose(driver, selector, option):
    field = driver.find_element(By.CSS_SELECTOR, f"{selector} input")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", field)
    field.click()
    (found,) = wait(driver, lambda: [
        each for each in shown(driver, "[role=option]")
        if each.text.split()[-1:] == [option]
    ])  # fmt: skip
    found.click()


def progress(driver):
    field = driver.find_element(By.CSS_SELECTOR, "#progress textarea")
    return field.get_attribute("value")


def test_a_broken_photograph_is_one_sentence(page, tmp_path):
    turn_to(page, "Train")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    (field,) = page.find_elements(By.CSS_SELECTOR, "#photograph input[type=file]")
    field.send_keys(str(broken))
    (said,) = wait(page, lambda: shown(page, "[data-testid=toast-body]"))
    assert "broken.png" in said.text


def test_two_sessions_do_not_see_each_others_images(address):
    with browser() as first, browser() as second:
        open_page(first, address)
        open_page(second, address)
        click(first, "draw")
        wait(first, lambda: len(shown(first, "#samples img")) >= 4)
        assert not shown(second, "#samples img")


@pytest.mark.parametrize(
    "tab", ["Train", "Sample", "Paint", "Edit", "Enlarge", "Animate"]
)
def test_a_checker_of_accessibility_finds_nothing_serious_of_ours(page, tab):
    turn_to(page, tab)
    time.sleep(1)
    axe = pathlib.Path(axe_core_python.__file__).parent / "axe.min.js"
    page.execute_script(axe.read_text(encoding="utf-8"))
    found = page.execute_async_script("axe.run().then(arguments[0])")
    serious = [
        (each["id"], node["html"])
        for each in found["violations"]
        if each["impact"] in ("serious", "critical") and each["id"] not in NOT_OURS
        for node in each["nodes"]
    ]
    assert not serious


def test_what_was_stopped_goes_on(page, runs_dir):
    turn_to(page, "Train")
    choose(page, "#known", "coffee")
    choose(page, "#preset", "small")
    name = page.find_element(By.CSS_SELECTOR, "#name textarea, #name input")
    name.send_keys("stopped")
    click(page, "train-start")
    wait(page, lambda: (runs_dir / "stopped" / "config.json").exists())
    wait(page, lambda: "step" in progress(page))
    # What is typed meanwhile stays, and so does what is shown.
    name.send_keys(Keys.CONTROL, "a")
    name.send_keys("next one")
    said = progress(page)
    wait(page, lambda: "step" in progress(page) and progress(page) != said)
    time.sleep(3)
    assert name.get_attribute("value") == "next one"
    click(page, "train-stop")
    wait(page, lambda: progress(page).startswith("Stopped"))
    name.send_keys(Keys.CONTROL, "a")
    name.send_keys("stopped")
    before = (runs_dir / "stopped.log").read_text()
    click(page, "train-on")
    wait(page, lambda: "step" in (runs_dir / "stopped.log").read_text()[len(before) :])
    wait(page, lambda: "step" in progress(page))
    click(page, "train-stop")
    wait(page, lambda: progress(page).startswith("Stopped"))


def test_a_served_model_has_the_same_page(served_export):
    target = f"127.0.0.1:{served_export.port}"
    with studio(f"--target={target}", f"--model={NAME}") as found, browser() as driver:
        open_page(driver, found)
        names = [each.text.strip() for each in shown(driver, "button[role=tab]")]
        assert names == ["Sample", "Paint", "Edit", "Enlarge", "Animate"]
        turn_to(driver, "Animate")
        wait(driver, lambda: not driver.find_element(By.ID, "animate").is_enabled())
        turn_to(driver, "Sample")
        click(driver, "draw")
        wait(driver, lambda: len(shown(driver, "#samples img")) >= 4)
        line = driver.find_element(By.CSS_SELECTOR, ".command textarea")
        wait(driver, lambda: line.get_attribute("value"))
        assert line.get_attribute("value").startswith(
            f"python -m export.client sample --target={target} --model={NAME} "
        )


def test_it_ends_by_ctrl_c_also_where_its_parent_ignored_that(runs_dir):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with studio(f"--runs_dir={runs_dir}", end_by=signal.SIGINT):
            pass
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_port_that_is_taken_is_one_sentence(address, runs_dir):
    port = address.rstrip("/").rpartition(":")[2]
    command = [sys.executable, "main.py", "studio", f"--port={port}"]
    command.append(f"--runs_dir={runs_dir}")
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 1
    assert refused.stderr.endswith("name another port, or 0 for a free one.\n")
    assert f"--port={port} is taken" in refused.stderr
