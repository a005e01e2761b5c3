"""The strftime directives that a key pattern can use: what each reads, what it writes, and the moment that they give.

Month names and AM/PM are English whatever the locale. What a directive reads is exactly what it writes, so that the
prefixes of a day hold every key that is read as of that day; keys written in several ways take a list of patterns.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone

_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December")  # fmt: skip
_SHORT = tuple(name[:3] for name in _MONTHS)
_WIDEST_OFFSET = timedelta(hours=14)
WIDEST_OFFSET_S = int(_WIDEST_OFFSET.total_seconds())
"""Seconds that a zone is apart from UTC at most; an offset in a key that is wider is none."""


@dataclass(frozen=True)
class Directive:
    """One strftime directive."""

    regex: str
    """What it reads."""
    writes: Callable[[datetime], str]
    """What it writes of a moment."""
    of_day: bool = False
    """Whether the calendar day determines it."""
    length: str = "fixed"
    """`fixed` or `varying` digits, or `letters`: what may be written next to it without a separator."""


def _names(names: tuple[str, ...]) -> str:
    return "|".join(names)


def _upper(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.upper() for name in names)


def _hour12(moment: datetime) -> int:
    return moment.hour % 12 or 12


DIRECTIVES: dict[str, Directive] = {
    # strftime leaves out the noughts of the first centuries
    "Y": Directive("[0-9]{4}", lambda moment: f"{moment.year:04d}", True),
    "y": Directive("[0-9]{2}", lambda moment: f"{moment.year % 100:02d}", True),
    "m": Directive("[0-9]{2}", lambda moment: f"{moment.month:02d}", True),
    "-m": Directive("1[0-2]|[1-9]", lambda moment: str(moment.month), True, "varying"),
    "b": Directive(_names(_SHORT), lambda moment: _SHORT[moment.month - 1], True, "letters"),
    "^b": Directive(_names(_upper(_SHORT)), lambda moment: _SHORT[moment.month - 1].upper(), True, "letters"),
    "B": Directive(_names(_MONTHS), lambda moment: _MONTHS[moment.month - 1], True, "letters"),
    "^B": Directive(
        _names(_upper(_MONTHS)), lambda moment: _MONTHS[moment.month - 1].upper(), True, "letters"
    ),
    "d": Directive("[0-9]{2}", lambda moment: f"{moment.day:02d}", True),
    "-d": Directive("[12][0-9]|3[01]|[1-9]", lambda moment: str(moment.day), True, "varying"),
    "j": Directive("[0-9]{3}", lambda moment: f"{moment.timetuple().tm_yday:03d}", True),
    "G": Directive("[0-9]{4}", lambda moment: f"{moment.isocalendar().year:04d}", True),
    "V": Directive("[0-9]{2}", lambda moment: f"{moment.isocalendar().week:02d}", True),
    "u": Directive("[1-7]", lambda moment: str(moment.isoweekday()), True),
    "H": Directive("[0-9]{2}", lambda moment: f"{moment.hour:02d}"),
    "-H": Directive("1[0-9]|2[0-3]|[0-9]", lambda moment: str(moment.hour), length="varying"),
    "I": Directive("[0-9]{2}", lambda moment: f"{_hour12(moment):02d}"),
    "-I": Directive("1[0-2]|[1-9]", lambda moment: str(_hour12(moment)), length="varying"),
    "p": Directive("AM|PM", lambda moment: "AM" if moment.hour < 12 else "PM", length="letters"),
    "P": Directive("am|pm", lambda moment: "am" if moment.hour < 12 else "pm", length="letters"),
    "M": Directive("[0-9]{2}", lambda moment: f"{moment.minute:02d}"),
    "-M": Directive("[1-5][0-9]|[0-9]", lambda moment: str(moment.minute), length="varying"),
    "S": Directive("[0-9]{2}", lambda moment: f"{moment.second:02d}"),
    "-S": Directive("[1-5][0-9]|[0-9]", lambda moment: str(moment.second), length="varying"),
    "f": Directive("[0-9]{1,6}", lambda moment: f"{moment.microsecond:06d}", length="varying"),
    "z": Directive("Z|[+-][0-9]{2}:?[0-9]{2}", lambda moment: f"{moment:%z}", length="letters"),
}

_YEARS, _MONTH_NUMBERS, _MONTH_NAMES, _DAYS = {"Y", "y"}, {"m", "-m"}, {"b", "^b", "B", "^B"}, {"d", "-d"}
_ISO = {"G", "V", "u"}
_TWELVE, _HALVES = {"I", "-I"}, {"p", "P"}


def is_full_date(names: set[str]) -> bool:
    """Return whether directives give a day: by month and day, by the day of the year, or by ISO year, week, weekday."""
    months = bool(names & (_MONTH_NUMBERS | _MONTH_NAMES))
    by_year = bool(names & _YEARS) and ((months and bool(names & _DAYS)) or "j" in names)
    return by_year or names >= _ISO


def lacking(names: set[str]) -> str | None:
    """Return what directives lack to be understood, or None."""
    twelve, halves = names & _TWELVE, names & _HALVES
    if bool(twelve) != bool(halves):
        return "%I and %p come together: an hour of a clock of twelve, and its half of the day"
    if "z" in names and not names & {"H", "-H", *_TWELVE}:
        return "%z comes with a time"
    return None


def day_of(texts: Mapping[str, str]) -> date:
    """Return the day that directives of a full date give.

    Raises:
        ValueError: there is no such day, or the directives contradict one another.
    """
    if texts.keys() >= _ISO and not (texts.keys() & _YEARS):
        day = date.fromisocalendar(int(texts["G"]), int(texts["V"]), int(texts["u"]))
    else:
        year = int(texts["Y"]) if "Y" in texts else _century(int(texts["y"]))
        if texts.keys() & _DAYS:
            day = date(year, _month(texts), _number(texts, _DAYS))
        elif "j" in texts:
            day = date(year, 1, 1) + timedelta(days=int(texts["j"]) - 1)
        else:
            day = date.fromisocalendar(int(texts["G"]), int(texts["V"]), int(texts["u"]))
    _check(
        datetime.combine(day, time()), {name: text for name, text in texts.items() if DIRECTIVES[name].of_day}
    )
    return day


def time_of(texts: Mapping[str, str]) -> time:
    """Return the time of day that directives give; what is not said is 0.

    Raises:
        ValueError: there is no such time, or the directives contradict one another.
    """
    hour = _number(texts, {"H", "-H"}) if texts.keys() & {"H", "-H"} else 0
    if texts.keys() & _TWELVE:
        of_twelve = _number(texts, _TWELVE)
        if not 1 <= of_twelve <= 12:
            raise ValueError("no hour of a clock of twelve")
        afternoon = next(texts[name] for name in _HALVES if name in texts).lower() == "pm"
        hour = of_twelve % 12 + 12 * afternoon
    microsecond = int(texts["f"].ljust(6, "0")) if "f" in texts else 0
    return time(hour, _number(texts, {"M", "-M"}), _number(texts, {"S", "-S"}), microsecond)


def contradicted(moment: datetime, texts: Mapping[str, str]) -> bool:
    """Return whether a directive would write something else of the moment than what was read."""
    return any(
        DIRECTIVES[name].writes(moment) != text for name, text in texts.items() if name not in ("f", "z")
    )


def offset_of(text: str) -> timezone:
    """Return the zone that %z says.

    Raises:
        ValueError: no zone is that far from UTC.
    """
    if text == "Z":
        return UTC
    minutes = int(text[-2:])
    distance = timedelta(hours=int(text[1:3]), minutes=minutes)
    if minutes > 59 or distance > _WIDEST_OFFSET:
        raise ValueError(f"no zone is {text} from UTC")
    return timezone(-distance if text[0] == "-" else distance)


def _check(moment: datetime, texts: Mapping[str, str]) -> None:
    if contradicted(moment, texts):
        raise ValueError("the key names two different dates, or none")


def _century(year: int) -> int:
    return year + (1900 if year >= 69 else 2000)  # as POSIX has it


def _month(texts: Mapping[str, str]) -> int:
    for name, names in (("b", _SHORT), ("^b", _upper(_SHORT)), ("B", _MONTHS), ("^B", _upper(_MONTHS))):
        if name in texts:
            return names.index(texts[name]) + 1
    return _number(texts, _MONTH_NUMBERS)


def _number(texts: Mapping[str, str], names: set[str]) -> int:
    return next((int(texts[name]) for name in names if name in texts), 0)
