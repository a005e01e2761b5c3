"""Numbers, times and words as a reader of one language expects them; `words.js` says the same in the page."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

from markupsafe import Markup, escape

NOTHING = "–"
# What all pages say, and what that of one recording says.
_CATALOGUES = ("", "recording.")
_NO_BREAK = "\N{NO-BREAK SPACE}"
_PLACEHOLDER = re.compile(r"\{(\w+)(?::(\w+))?\}")


class Language(StrEnum):
    """A language that the report speaks: the name of its catalogue in `words/`."""

    en = "en"
    ko = "ko"
    ja = "ja"
    de = "de"


@cache
def catalogue(language: Language) -> dict[str, str]:
    """Return the words of a language by key."""
    words: dict[str, str] = {}
    for name in _CATALOGUES:
        text = files("emolake.report").joinpath("words", f"{name}{language}.json").read_text("utf-8")
        words |= json.loads(text)
    return words


@dataclass(frozen=True)
class Words:
    """The words and number formats of one language."""

    language: Language

    def __call__(self, key: str, **values: Any) -> str:
        """Return the text of a key, with its placeholders filled: `{recordings:number}` is `values["recordings"]`."""
        text = catalogue(self.language)[key]
        return _PLACEHOLDER.sub(lambda found: self.formatted(values[found[1]], found[2]), text)

    def element(self, key: str, **values: Any) -> Markup:
        """Return the text as an element that the page can say in another language."""
        given = Markup(' data-values="{}"').format(json.dumps(values, default=str)) if values else ""
        return Markup('<span data-word="{}"{}>{}</span>').format(key, given, self(key, **values))

    def value(self, value: Any, format: str) -> Markup:
        """Return a value as an element that the page can write in another language's format."""
        if value is None:
            return escape(NOTHING)
        if format in ("text", "date", "long"):
            return escape(value)
        plain = json.dumps(value, default=datetime.isoformat)
        return Markup('<data value="{}" data-format="{}">{}</data>').format(
            plain, format, self.formatted(value, format)
        )

    def formatted(self, value: Any, format: str | None) -> str:
        """Return a value in the language's format."""
        if value is None:
            return NOTHING
        return self._formats[format](value) if format else str(value)

    @property
    def _formats(self) -> Mapping[str, Callable[[Any], str]]:
        return {
            "text": str,
            "date": str,
            "day": lambda value: str(value)[5:].replace("-", "\N{NON-BREAKING HYPHEN}"),
            "number": lambda value: self._decimal(value, 0),
            "decimal": lambda value: self._decimal(value, 1),
            "hundredths": lambda value: self._decimal(value, 2),
            "precise": lambda value: self._decimal(value, 3),
            "percent": lambda value: self._decimal(100 * value, 1) + self._percent_sign,
            "points": lambda value: self._signed(100 * value),
            "share": self._share,
            "change": self._change,
            "duration": self._duration,
            "clock": self._clock,
            "moment": _moment,
            "emotion": lambda value: self(f"emotion_{value}"),
            "long": str,
            "role": lambda value: catalogue(self.language).get(f"role_{value}", value),
            "word": lambda value: self(value),
            "said": lambda value: self(value[0], **value[1]),
        }

    @property
    def _percent_sign(self) -> str:
        return f"{_NO_BREAK}%" if self.language is Language.de else "%"

    def _decimal(self, value: float, places: int) -> str:
        text = f"{round(value, places) + 0:,.{places}f}"  # adding 0 takes the sign of -0
        return text.translate(str.maketrans(",.", ".,")) if self.language is Language.de else text

    def _signed(self, value: float) -> str:
        sign = "+" if round(value, 1) > 0 else "−" if round(value, 1) < 0 else "±"
        return sign + self._decimal(abs(value), 1)

    def _share(self, value: Sequence[float | None]) -> str:
        share, low, high = value
        if share is None:
            return NOTHING
        text = self.formatted(share, "percent")
        if low is None or high is None:
            return f"{text} ({self('no_interval')})"
        return f"{text} ({self._decimal(100 * low, 1)}–{self._decimal(100 * high, 1)})"

    def _change(self, value: Sequence[float | None]) -> str:
        change, low, high = value
        if change is None:
            return NOTHING
        if low is None:
            return f"{self._signed(100 * change)} ({self('no_interval')})"
        return self("points_between", change=change, low=low, high=high)

    def _duration(self, seconds: float) -> str:
        size, unit = (
            (1, "unit_s") if seconds < 60 else (60, "unit_min") if seconds < 3600 else (3600, "unit_h")
        )
        return f"{self._decimal(seconds / size, 1)}{_NO_BREAK}{self(unit)}"

    def _clock(self, seconds: float) -> str:
        minutes, rest = divmod(round(10 * seconds), 600)
        return f"{minutes}:{self._decimal(rest / 10, 1).zfill(4)}"


def _moment(moment: datetime) -> str:
    """Return a moment to the minute, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"
