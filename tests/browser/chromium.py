"""Chromium, driven from here."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .laboratory import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["running_chromium"]

_OPTIONS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    # Whoever is not this machine does not exist.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--force-color-profile=srgb",
]


@contextmanager
def running_chromium() -> "Iterator[Browser]":
    """A browser without a window. While it runs, this thread has an event loop."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=_OPTIONS)
        try:
            yield browser
        finally:
            browser.close()
