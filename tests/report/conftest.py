"""One browser for all that looks at a report in it."""

import pytest
from report_browser import launched


@pytest.fixture(scope="session")
def browser():
    """The browser of the system, headless."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = launched(driver)
        yield browser
        browser.close()
