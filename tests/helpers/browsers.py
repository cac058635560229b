"""A headless Chromium, as Debian has it, that tests drive like somebody who looks at a page."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

DESKTOP, PHONE = (1360, 900), (390, 844)
_SECONDS = 20.0  # for anything that a page is waited for


@contextlib.contextmanager
def chromium(size: tuple[int, int], touch: bool = False) -> Iterator[Any]:
    """Starts a browser with a profile of its own, and ends it.

    Args:
      size: width and height of the window in pixels.
      touch: whether it is a phone's, with fingers instead of a mouse.

    Yields:
      Selenium's driver. The test is skipped where there is no Chromium.
    """
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium, which the extra test brings")
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no Chromium here: apt-get install chromium chromium-driver")
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        for argument in (
            "--headless",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            f"--user-data-dir={profile}",
            f"--window-size={size[0]},{size[1]}",
        ):
            options.add_argument(argument)
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            options.add_argument("--no-sandbox")
        if touch:
            metrics = {"width": size[0], "height": size[1], "pixelRatio": 2, "touch": True}
            options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        try:
            yield started
        finally:
            started.quit()


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Waits until something is so, and returns what the condition gave.

    Args:
      condition: is asked again and again; elements that are not there yet count as no.
      what: is waited for, for the failure's message.
    """
    from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException

    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(NoSuchElementException, StaleElementReferenceException):
            if result := condition():
                return result
        time.sleep(0.03)
    raise AssertionError(f"waited {_SECONDS:g} s for {what}")
