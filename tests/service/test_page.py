"""The page in a real browser: photographs of DVD covers find the cover, with a mouse, a finger and keys alone."""

from __future__ import annotations

import base64
import contextlib
import shutil
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.browsers import DESKTOP, PHONE, chromium, wait_for

pytest.importorskip("uvicorn", reason="needs the extra service")
pytest.importorskip("selenium", reason="needs selenium, which the extra test brings")

import uvicorn
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import tfvlad
from tfvlad.service.app import Service
from tfvlad.service.server import PatientProtocol, listen
from tfvlad.service.settings import ServiceSettings

COVERS = 20
RIGHT = "017.jpg"  # the cover that the photograph shows, by the name of its file
KNOWN_AGAIN = {"same": "The same", "likely": "Likely the same"}

DROP = """
const [name, data] = arguments;
const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
const transfer = new DataTransfer();
transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
for (const kind of ["dragenter", "dragover", "drop"]) {
  document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
}
"""


@contextlib.contextmanager
def serving(index: Path, token: str | None = None) -> Iterator[str]:
    """Serves in this process, which has TensorFlow already, and gives the address when it is ready."""
    opened = listen("127.0.0.1", 0)
    service = Service({"covers": str(index)}, ServiceSettings(token=token))
    config = uvicorn.Config(service.app, http=PatientProtocol, log_config=None, access_log=False, lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([opened],))
    thread.start()
    address = f"http://127.0.0.1:{opened.getsockname()[1]}/"

    def is_ready() -> bool:
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"{address}readyz").status == 200
        return False

    try:
        wait_for(is_ready, "the service")
        yield address
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def covers_index(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of the covers, with the one that the photograph shows among them."""
    folder = tmp_path_factory.mktemp("page") / "covers"
    folder.mkdir()
    for path in sorted((data_dir / "smvs_dvd" / "Reference").iterdir())[:COVERS]:
        shutil.copy(path, folder)
    config = tfvlad.EncoderConfig(
        backbone=str(data_dir / "squeezenet_imagenet_notop.keras"),
        preprocessing="caffe",
        layer="fire8_concat",
        image_size=320,
        clusters=32,
        dim=16,
    )
    path = folder.parent / "covers.index"
    with tfvlad.Index.create(path, tfvlad.Encoder.fit(folder, config)) as index:
        index.sync(folder)
    return path


@pytest.fixture(scope="module")
def address(covers_index: Path) -> Iterator[str]:
    with serving(covers_index) as address:
        yield address


@pytest.fixture(scope="module")
def photograph(data_dir: Path) -> Path:
    return data_dir / "smvs_dvd" / "E63" / RIGHT


@pytest.fixture(scope="module")
def desktop() -> Iterator[Any]:
    with chromium(DESKTOP) as browser:
        yield browser


@pytest.fixture(scope="module")
def phone() -> Iterator[Any]:
    with chromium(PHONE, touch=True) as browser:
        yield browser


class Page:
    """The page, as somebody sees it."""

    def __init__(self, browser: Any, address: str) -> None:
        self.browser = browser
        browser.get("about:blank")
        browser.get(address)
        wait_for(lambda: f"{COVERS} pictures" in self.by_id("collection").text, "the collection's size")

    def by_id(self, name: str) -> Any:
        return self.browser.find_element(By.ID, name)

    def all(self, selector: str) -> list[Any]:
        found: list[Any] = self.browser.find_elements(By.CSS_SELECTOR, selector)
        return found

    def choose(self, path: Path) -> None:
        self.by_id("choose").send_keys(str(path))
        self.settle()

    def settle(self) -> None:
        """Waits until the search that goes on has ended."""
        wait_for(lambda: self.by_id("results").get_attribute("aria-busy") is None and self.status(), "the results")

    def status(self) -> str:
        return str(self.by_id("status").text)

    def names(self) -> list[str]:
        read = "return [...document.querySelectorAll('.hit .name')].map((one) => one.textContent)"
        found: list[str] = self.browser.execute_script(read)
        return found

    def verdicts(self) -> list[str]:
        return [card.get_attribute("data-verdict") for card in self.all(".hit")]

    def box(self) -> list[float] | None:
        """The box in percent of the picture; None where there is none."""
        box = self.by_id("box")
        if box.get_attribute("hidden") is not None:
            return None
        read = "return ['left', 'top', 'width', 'height'].map((side) => parseFloat(arguments[0].style[side]))"
        sides: list[float] = self.browser.execute_script(read, box)
        return sides

    def explain_first(self) -> Any:
        self.all(".hit .open")[0].click()
        return wait_for(lambda: self.all("#why-drawing > svg"), "the explanation")[0]

    def complaints(self) -> list[str]:
        """What the browser's console holds."""
        return [entry["message"] for entry in self.browser.get_log("browser")]

    def asked_hosts(self) -> set[str]:
        read = "return performance.getEntriesByType('resource').map((one) => new URL(one.name).host || 'blob')"
        return set(self.browser.execute_script(read))


@pytest.mark.parametrize("window", ["desktop", "phone"])
def test_a_dropped_photograph_finds_its_cover_and_the_page_says_why(
    window: str, request: pytest.FixtureRequest, address: str, photograph: Path
) -> None:
    page = Page(request.getfixturevalue(window), address)
    page.browser.execute_script(DROP, photograph.name, base64.b64encode(photograph.read_bytes()).decode())
    page.settle()
    assert page.names()[0] == RIGHT
    assert page.verdicts()[0] in KNOWN_AGAIN
    assert page.status() == "1 shows the same"
    drawing = page.explain_first()
    assert len(drawing.find_elements(By.CSS_SELECTOR, ".lines line")) > 15
    assert drawing.find_elements(By.CSS_SELECTOR, ".outline.query")
    assert "details agree" in drawing.get_attribute("aria-label")
    assert KNOWN_AGAIN[page.verdicts()[0]] in page.by_id("why-facts").text
    loaded = "return [...document.querySelectorAll('.hit img')].slice(0, 2).every((one) => one.naturalWidth > 0)"
    wait_for(lambda: page.browser.execute_script(loaded), "the thumbnails")
    page.by_id("why-close").click()
    assert page.complaints() == []
    assert page.asked_hosts() <= {address.split("/")[2], "blob"}
    width = "return [document.documentElement.scrollWidth, innerWidth]"
    needed, there = page.browser.execute_script(width)
    assert needed <= there  # nothing sticks out


def test_a_box_drawn_with_the_mouse_is_searched_for(desktop: Any, address: str, photograph: Path) -> None:
    page = Page(desktop, address)
    page.choose(photograph)
    before = page.all(".hit .verdict span")[0].text
    editor = page.by_id("editor")
    width, height = editor.size["width"], editor.size["height"]
    actions = ActionChains(desktop).move_to_element_with_offset(editor, int(-0.42 * width), int(-0.4 * height))
    actions.click_and_hold().move_by_offset(int(0.4 * width), int(0.4 * height))
    actions.move_by_offset(int(0.36 * width), int(0.45 * height)).release().perform()
    page.settle()
    assert page.box() == pytest.approx([8, 10, 76, 85], abs=2)
    assert page.names()[0] == RIGHT
    assert page.verdicts()[0] in KNOWN_AGAIN
    assert page.all(".hit .verdict span")[0].text != before
    page.explain_first()
    page.by_id("why-close").click()
    page.by_id("part").click()  # the whole picture again
    page.settle()
    assert page.box() is None
    assert page.complaints() == []


def test_a_box_is_drawn_with_a_finger(phone: Any, address: str, photograph: Path) -> None:
    page = Page(phone, address)
    page.choose(photograph)
    page.by_id("part").click()
    page.settle()
    assert page.box() == [20, 20, 60, 60]
    corner = page.all("#box [data-edge=se]")[0].rect
    picture = page.by_id("editor").rect
    from_x, from_y = corner["x"] + corner["width"] / 2, corner["y"] + corner["height"] / 2
    to_x, to_y = picture["x"] + 0.9 * picture["width"], picture["y"] + 0.95 * picture["height"]
    for kind, x, y in (
        ("touchStart", from_x, from_y),
        ("touchMove", (from_x + to_x) / 2, (from_y + to_y) / 2),
        ("touchMove", to_x, to_y),
        ("touchEnd", 0, 0),
    ):
        points = [] if kind == "touchEnd" else [{"x": x, "y": y}]
        phone.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    page.settle()
    assert page.box() == pytest.approx([20, 20, 70, 75], abs=2)
    assert page.names()[0] == RIGHT


def test_keys_alone_do_everything(desktop: Any, address: str, photograph: Path) -> None:
    page = Page(desktop, address)
    page.choose(photograph)

    def press(*keys: str) -> None:
        ActionChains(desktop).send_keys(*keys).perform()

    def focused() -> str:
        found: str = desktop.execute_script("return document.activeElement.id || document.activeElement.className")
        return found

    desktop.execute_script("document.activeElement.blur(); document.querySelector('.brand').focus()")
    reached = []
    while "open" not in reached:
        press(Keys.TAB)
        reached.append(focused())
        assert len(reached) < 20
    assert [name for name in reached if name in ("editor", "turn-left", "turn-right", "part", "choose")] == [
        "editor", "turn-left", "turn-right", "part", "choose",
    ]  # fmt: skip
    press(Keys.ENTER)
    wait_for(lambda: page.all("#why-drawing > svg"), "the explanation")
    press(Keys.ESCAPE)
    wait_for(lambda: not page.all("#why[open]"), "the dialog's end")
    assert focused() == "open"  # where it was before
    desktop.execute_script("document.getElementById('editor').focus()")
    press(Keys.ENTER)
    page.settle()
    assert page.box() == [20, 20, 60, 60]
    press(Keys.ARROW_LEFT, Keys.ARROW_UP)
    ActionChains(desktop).key_down(Keys.SHIFT).send_keys(Keys.ARROW_RIGHT).key_up(Keys.SHIFT).perform()
    assert page.box() == pytest.approx([18, 18, 62, 60])
    page.settle()
    press(Keys.DELETE)
    page.settle()
    assert page.box() is None


def test_each_control_has_a_name_for_a_screen_reader(desktop: Any, address: str, photograph: Path) -> None:
    page = Page(desktop, address)
    page.choose(photograph)
    controls = page.all("button, input, select, a, [tabindex='0']")
    assert [one.get_attribute("outerHTML") for one in controls if one.is_displayed() and not one.accessible_name] == []
    assert page.all(".hit .open")[0].accessible_name.startswith(f"1: {RIGHT}. {KNOWN_AGAIN[page.verdicts()[0]]}, ")
    assert page.by_id("status").get_attribute("aria-live") == "polite"


def test_a_turned_picture_and_going_on_from_a_result_and_back(desktop: Any, address: str, photograph: Path) -> None:
    page = Page(desktop, address)
    page.choose(photograph)
    picture = page.by_id("editor").size
    page.by_id("turn-right").click()
    wait_for(lambda: page.by_id("editor").size["height"] > picture["height"], "the turned picture")
    page.settle()
    assert page.names()[0] == RIGHT
    other = page.names()[1]
    page.all(".hit .again")[1].click()
    wait_for(lambda: page.names()[:1] == [other], "what is like the second")
    page.settle()
    assert "#index=covers&id=" in desktop.current_url
    page.by_id("turn-right").click()  # an indexed picture can be turned, too
    page.settle()
    assert page.names()[0] == other
    desktop.back()
    desktop.back()
    wait_for(lambda: page.names()[:1] == [RIGHT], "the first results")
    desktop.forward()
    wait_for(lambda: page.names()[:1] == [other], "what was found from there")
    linked = desktop.current_url
    desktop.get("about:blank")
    desktop.get(linked)
    wait_for(lambda: page.names()[:1] == [other], "the results of a link")
    page.settle()
    page.by_id("part").click()  # a part of an indexed picture
    page.settle()
    assert page.names()[0] == other
    page.explain_first()
    assert page.complaints() == []


def test_what_is_no_picture_is_refused_in_words(desktop: Any, address: str, tmp_path: Path) -> None:
    page = Page(desktop, address)
    (tmp_path / "text.jpg").write_text("no picture")
    page.by_id("choose").send_keys(str(tmp_path / "text.jpg"))
    wait_for(lambda: page.by_id("problem").text, "the line that says so")
    assert "not a JPEG" in page.by_id("problem").text or "cannot be used" in page.by_id("problem").text
    assert page.all(".hit") == []


def test_a_token_is_asked_for(desktop: Any, covers_index: Path) -> None:
    with serving(covers_index, token="a-token-of-some-length") as address:
        desktop.get(address)
        field = wait_for(lambda: desktop.find_element(By.ID, "token-value"), "the field")
        for token in ("a wrong one", "a-token-of-some-length"):
            wait_for(lambda: desktop.find_elements(By.CSS_SELECTOR, "#token[open]"), "the dialog")
            field.clear()
            field.send_keys(token, Keys.ENTER)
        wait_for(lambda: "pictures" in desktop.find_element(By.ID, "collection").text, "the collection")
        with tfvlad.Index.open(covers_index) as index:
            [file] = [file for file, path, _ in index.images() if path == RIGHT]
        page = Page(desktop, f"{address}#index=covers&id={file}")  # the tab keeps the token
        wait_for(lambda: page.names()[:1] == [RIGHT], "what is found")
        page.settle()
        page.by_id("turn-right").click()  # an indexed picture is fetched with the token
        page.settle()
        assert page.names()[0] == RIGHT
        loaded = "return document.querySelector('.hit img').naturalWidth > 0"
        wait_for(lambda: desktop.execute_script(loaded), "a thumbnail")
        assert desktop.execute_script("return localStorage.length") == 0  # nothing outlives the tab
