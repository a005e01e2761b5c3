"""Starting the dashboard: Streamlit on this machine's own address, in place of this process."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from emolake.errors import ConfigurationError
from emolake.output.notices import complain
from emolake.ports import LOCALHOST, check_free

ADDRESS = LOCALHOST
CONFIG_VARIABLE = "EMOLAKE_DASHBOARD_CONFIG"
_OPTIONS = {
    "server.address": ADDRESS,
    "server.headless": "true",  # opens no browser, asks for no address
    "server.fileWatcherType": "none",
    "server.runOnSave": "false",
    "server.enableXsrfProtection": "true",
    "server.enableCORS": "true",  # that is: only this address may connect
    "server.enableStaticServing": "false",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "viewer",
    "client.showErrorDetails": "none",
    "global.developmentMode": "false",
    "logger.hideWelcomeMessage": "true",
    "theme.primaryColor": "#3d4fc4",
}


def command(port: int) -> list[str]:
    """Return the command that serves the page; -P, so that no file of the working folder is imported."""
    page = Path(__file__).with_name("dashboard_page.py")
    options = [f"--{name}={value}" for name, value in {**_OPTIONS, "server.port": str(port)}.items()]
    return [sys.executable, "-P", "-m", "streamlit", "run", str(page), *options]


def serve(config: Path, port: int) -> None:
    """Become the dashboard's server: it ends on SIGINT and SIGTERM, and nothing is left behind.

    Raises:
        ConfigurationError: Streamlit is not installed, or something else listens on the port.
    """
    if find_spec("streamlit") is None:
        raise ConfigurationError(
            "the dashboard needs the package streamlit, and it is not installed; install it with: "
            "pip install 'emolake[dashboard]'"
        )
    check_free(port, remedy="choose another with --port")
    environment = {**os.environ, CONFIG_VARIABLE: str(config.absolute())}
    arguments = command(port)
    complain(f"the dashboard is at http://{ADDRESS}:{port}; Ctrl-C ends it")
    os.execve(arguments[0], arguments, environment)
