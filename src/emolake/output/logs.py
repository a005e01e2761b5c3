"""What a run says while it works, a line each: plain, pretty or JSON, with what it is about; no secret is in it."""

import json
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal, NamedTuple

from pydantic import Field
from rich.console import Console
from rich.logging import RichHandler
from rich.text import Text

from emolake.messages import printable, redacted
from emolake.options import Options

FIELDS = ("run", "day", "shard", "worker", "recording")
"""What a line may be about, in this order."""

_LOGGER = "emolake"
_QUOTED = frozenset(' "=')
_about: ContextVar[Mapping[str, str]] = ContextVar("about", default=MappingProxyType({}))


class LogOptions(Options):
    """How runs log, on standard error."""

    format: Literal["auto", "plain", "pretty", "json"] = "auto"
    """"plain", "pretty" (colours), or "json" (an object a line). "auto" is bars and warnings on a terminal, and plain
    lines elsewhere."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is written."""
    progress_s: float = Field(60.0, gt=0)
    """How often a line says how far the run is, where there are no bars."""


class _State:
    """What of the format holds in the whole process: complaints of the command line are lines of it too."""

    is_json = False


def use_format(options: LogOptions | None = None) -> None:
    """Let single lines of the command, such as its last error, have the format too; None goes back to sentences."""
    _State.is_json = options is not None and options.format == "json"


def said_as_json(message: str, level: str = "error") -> bool:
    """Write a line of JSON and return True, where JSON is the format of this process."""
    if _State.is_json:
        print(_json_line(level, _LOGGER, message, _fields()), file=sys.stderr, flush=True)
    return _State.is_json


@contextmanager
def about(**fields: object) -> Iterator[None]:
    """Let the lines of the block, in this thread, be about a run, day, shard or recording."""
    token = _about.set(
        {**_about.get(), **{name: str(value) for name, value in fields.items() if value is not None}}
    )
    try:
        yield
    finally:
        _about.reset(token)


def shows_bars(options: LogOptions) -> bool:
    """Return whether progress is shown as bars: on a terminal, unless a format was chosen."""
    return options.format in ("auto", "pretty") and Console(stderr=True).is_terminal


@contextmanager
def logged(options: LogOptions) -> Iterator[None]:
    """Write what emolake's modules log in the block to standard error."""
    use_format(options)
    handler = _handler(options)
    with _handled_by(handler, handler.level):
        yield


@contextmanager
def forwarded(target: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> Iterator[None]:
    """Hand what emolake's modules log in the block to another logger too, in whatever thread it is logged."""
    with _handled_by(_Forwarding(target), logging.INFO):
        yield


class Line(NamedTuple):
    """What a process logged that another one writes."""

    level: int
    logger: str
    message: str
    about: Mapping[str, str]


def collect(take: Callable[[Line], None]) -> None:
    """Hand what emolake's modules log in this process from now on to `take`, and write nothing of it."""
    logger = logging.getLogger(_LOGGER)
    logger.addHandler(_Collecting(take))
    logger.setLevel(logging.INFO)
    logger.propagate = False


def relay(line: Line) -> None:
    """Log what another process has logged, with what it was about there."""
    with about(**line.about):
        logging.getLogger(line.logger).log(line.level, "%s", line.message)


@contextmanager
def _handled_by(handler: logging.Handler, level: int) -> Iterator[None]:
    logger = logging.getLogger(_LOGGER)
    before = (logger.level, logger.propagate)
    logger.addHandler(handler)
    logger.setLevel(min(level, logger.level or level))
    logger.propagate = False  # to the root's handlers, which Prefect sets up: every line would be there twice
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


def _handler(options: LogOptions) -> logging.Handler:
    level = logging.getLevelNamesMapping()[options.level.upper()]
    handler: logging.Handler
    if options.format == "json":
        handler = _Lines(_JsonFormatter())
    elif options.format == "pretty":
        handler = _Pretty()
    elif options.format == "auto" and shows_bars(options):
        handler, level = _Lines(_MessageFormatter()), max(level, logging.WARNING)
    else:
        handler = _Lines(_PlainFormatter())
    handler.setLevel(level)
    return handler


class _Harmless(logging.Handler):
    """A handler whose own failures end nothing, and are one line; logging's would show arguments with secrets."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Say what is wrong with a record, on standard error unless that is what is wrong."""
        what = f"{record.pathname}:{record.lineno}: this could not be logged: {sys.exc_info()[1]!r}"
        # Nobody reads it any more, or it was closed: no reason to end a run.
        with suppress(OSError, ValueError):
            if sys.stderr is not None and not said_as_json(what):
                print(f"emolake: {printable(redacted(what))}", file=sys.stderr, flush=True)


class _Lines(_Harmless):
    """Lines on whatever standard error is at the moment: a progress bar puts itself in its place."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:  # noqa: BLE001 - whatever is wrong with a line, the work goes on
            self.handleError(record)


class _Console(Console):
    """Standard error, which may be closed; rich would end the program then, and its standard output."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class _Pretty(_Harmless, RichHandler):
    """Lines in colours, with what they are about behind them."""

    def __init__(self) -> None:
        super().__init__(console=_Console(stderr=True), show_path=False, markup=False, rich_tracebacks=False)

    def emit(self, record: logging.LogRecord) -> None:
        self.console.file = sys.stderr
        try:
            super().emit(record)
        except Exception:  # noqa: BLE001 - see `_Lines`
            self.handleError(record)

    def render_message(self, record: logging.LogRecord, message: str) -> Text:
        shown = Text(_shown(record))
        shown.append(_suffix(_fields()), style="dim")
        return shown


class _Forwarding(_Harmless):
    def __init__(self, target: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        super().__init__()
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        fields = {name: value for name, value in _fields().items() if name in ("shard", "recording")}
        try:
            self._target.log(record.levelno, "%s", _shown(record) + _suffix(fields))
        except Exception:  # noqa: BLE001 - see `_Lines`
            self.handleError(record)


class _Collecting(_Harmless):
    def __init__(self, take: Callable[[Line], None]) -> None:
        super().__init__()
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._take(Line(record.levelno, record.name, _shown(record), _fields()))
        except Exception:  # noqa: BLE001 - see `_Lines`
            self.handleError(record)


class _MessageFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"emolake: {_shown(record)}"


class _PlainFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"{_time()} {record.levelname.lower()} {_shown(record)}{_suffix(_fields())}"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _json_line(
            record.levelname.lower(), record.name, record.getMessage(), _fields(), _trace(record)
        )


def _fields() -> dict[str, str]:
    """Return what the lines of this thread are about, in the order of FIELDS."""
    known = {"worker": f"{socket.gethostname()}:{os.getpid()}", **_about.get()}
    return {name: known[name] for name in FIELDS if name in known}


def _suffix(fields: Mapping[str, str]) -> str:
    """Return fields as words behind a message; what has spaces, or a quote, is in quotes."""
    words = []
    for name, value in fields.items():
        clean = printable(redacted(value))
        quoted = json.dumps(clean, ensure_ascii=False) if _QUOTED & set(clean) else clean
        words.append(f" {name}={quoted}")
    return "".join(words)


def _shown(record: logging.LogRecord) -> str:
    """Return a record's message as one line, and its traceback below it."""
    trace = _trace(record)
    return printable(redacted(record.getMessage())) + (f"\n{trace}" if trace else "")


def _trace(record: logging.LogRecord) -> str | None:
    if not record.exc_info:
        return None
    return printable(redacted(logging.Formatter().formatException(record.exc_info)), lines=True)


def _json_line(
    level: str, logger: str, message: str, fields: Mapping[str, str], trace: str | None = None
) -> str:
    line = {"time": _time(), "level": level, "message": redacted(message), "logger": logger}
    line |= {name: redacted(value) for name, value in fields.items()}
    if trace:
        line["exception"] = trace
    # Lone surrogates of a file's name are no UTF-8: those are escaped, and line ends by JSON itself.
    return json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


def _time() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
