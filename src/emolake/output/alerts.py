"""Alerts: short messages to the receivers that the configuration names, by apprise; one that is down harms nothing."""

import json
import logging
import time
from pathlib import Path
from threading import Thread
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from emolake.errors import ConfigurationError
from emolake.options import Options

Event = Literal["failed", "late", "empty", "quarantine", "drift", "gap"]


class AlertOptions(Options):
    """Who gets which alerts; see docs/watching.md."""

    urls: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Receivers as apprise writes them: `mailto://…`, `slack://…`, `json://…`. They hold secrets: better given by the
    environment (EMOLAKE_ALERTS__URLS, several with spaces between), or in `urls_file`."""
    urls_file: str | None = None
    """File with a receiver a line, such as a mounted secret; read for every alert, so it may change at any time."""
    events: tuple[Event, ...] = ("failed", "late", "empty", "quarantine", "drift", "gap")
    """What alerts are sent of."""
    quarantine_share: float = Field(0.05, ge=0, le=1)
    """Share of a run's recordings above which their quarantine is an event."""
    timeout_s: float = Field(20.0, gt=0)
    """How long all receivers together may take."""

    @field_validator("urls", mode="before")
    @classmethod
    def _of_a_variable(cls, value: Any) -> Any:
        """Take a variable's text apart: a JSON array, or words."""
        if not isinstance(value, str):
            return value
        return json.loads(value) if value.lstrip().startswith("[") else tuple(value.split())

    @property
    def has_receivers(self) -> bool:
        """Whether anybody is named at all."""
        return bool(self.urls or self.urls_file)

    def receivers(self) -> list[str]:
        """Return the URLs of the receivers.

        Raises:
            ConfigurationError: the file cannot be read.
        """
        lines: list[str] = []
        if self.urls_file is not None:
            try:
                lines = Path(self.urls_file).read_text("utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "it is no text"
                raise ConfigurationError(
                    f"alerts.urls_file = {self.urls_file} cannot be read ({reason}); correct it, or its permissions"
                ) from None
        named = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        return [*(url.get_secret_value() for url in self.urls), *named]


def send(options: AlertOptions, title: str, body: str) -> list[str]:
    """Send a message to every receiver, and return what went wrong, a sentence each, without any URL.

    Raises:
        ConfigurationError: the file of the receivers cannot be read.
    """
    urls = options.receivers()
    if not urls:
        return ["no receiver is named: set alerts.urls or alerts.urls_file"]
    import apprise  # takes a fourth of a second
    from apprise.manager_plugins import NotificationManager

    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it names hosts, and what they answer
    # Before the threads: one of them would see only some of the kinds of receivers while another loads them.
    NotificationManager().load_modules()  # type: ignore[no-untyped-call]
    problems = {
        number: f"receiver {number} had no answer within {options.timeout_s:g} s"
        for number in range(1, len(urls) + 1)
    }

    def notify(number: int, url: str) -> None:
        problems[number] = _notified(apprise, url, number, title, body) or ""

    # A thread each: one that neither answers nor refuses holds up neither the others nor the night.
    threads = [Thread(target=notify, args=each, name="alerts", daemon=True) for each in enumerate(urls, 1)]
    deadline = time.monotonic() + options.timeout_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [problem for problem in problems.copy().values() if problem]


def _notified(apprise: Any, url: str, number: int, title: str, body: str) -> str | None:
    try:
        receiver = apprise.Apprise.instantiate(url)
        if receiver is None:
            return f"receiver {number} is no URL that apprise knows"
        if receiver.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT):
            return None
    except Exception as error:  # noqa: BLE001 - of whatever library the receiver needs; its text may hold the URL
        return f"receiver {number} could not be reached ({type(error).__name__})"
    return f"receiver {number} did not take the message"
