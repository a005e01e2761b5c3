"""One browser for each module that looks at a report in it: while it is open, an event loop runs in this thread."""

import pytest
from report_browser import launched


@pytest.fixture(scope="module")
def browser():
    """The browser of the system, headless."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = launched(driver)
        yield browser
        browser.close()
