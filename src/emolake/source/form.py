"""One form of keys: which day a key of it belongs to, and which prefixes hold the keys of one day."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache
from zoneinfo import ZoneInfo

from emolake.errors import ConfigurationError
from emolake.source.calendar import key_days, span
from emolake.source.directives import (
    DIRECTIVES,
    contradicted,
    day_of,
    is_full_date,
    lacking,
    offset_of,
    time_of,
)
from emolake.source.tokens import Token, Window, components, says_utc, tokenise

# More dimensions between two slashes than this are parted by `_split`: a regular expression tries every way to
# cut a key into them, and a key of a thousand underscores has more ways than there is time.
_MOST_BY_REGEX = 2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class MatchedKey:
    """What a key says of its recording.

    `date` is None where the form has none; `recorded_at` is in UTC, None where the key has no time.
    """

    date: date | None
    recorded_at: datetime | None
    dimensions: dict[str, str]


@dataclass(frozen=True)
class DayPrefix:
    """A prefix that is listed for a day; `neighbour` where it is of a day before or after, as keys write them."""

    prefix: str
    neighbour: bool = False


class KeyForm:
    """A parsed pattern of object keys.

    Raises:
        ConfigurationError: the pattern is none, is ambiguous, has no full date or names a dimension twice.
    """

    def __init__(
        self, text: str, timezone: ZoneInfo, key_timezone: ZoneInfo, *, undated: bool = False
    ) -> None:
        self.text = text
        self.timezone = timezone
        tokens = tokenise(text)
        self._components = components(text, tokens)
        says = says_utc(tokens)
        self.key_timezone = ZoneInfo("UTC") if says else key_timezone
        self.dimensions = tuple(token.text for token in tokens if token.kind == "dimension")
        directives = {token.text for token in tokens if token.kind == "directive"}
        self._times = any(token.kind == "directive" and not token.is_of_day for token in tokens)
        self._unix = any(token.kind == "unix" for token in tokens)
        self._own_offset = "z" in directives
        self.says_zone = says or self._own_offset or self._unix
        self.dated = self._unix or is_full_date(directives)
        if missing := lacking(directives):
            raise ConfigurationError(f"the pattern {text!r} is incomplete: {missing}")
        if not self.dated and (directives or not undated):
            raise ConfigurationError(
                f"the pattern {text!r} does not give a full date; it needs a field such as {{date:%Y/%m/%d}}, or "
                "source.date_from where no key holds one"
            )
        twice = {name for name in self.dimensions if self.dimensions.count(name) > 1}
        if twice:
            raise ConfigurationError(
                f"the pattern {text!r} names {', '.join(sorted(twice))} twice; rename one of them"
            )

    @property
    def is_moment(self) -> bool:
        """Whether keys say a moment, and not only a day."""
        return self._unix or self._times

    @property
    def _is_local(self) -> bool:
        """Whether the day is the one that keys write."""
        same = self.key_timezone.key == self.timezone.key and not self._own_offset and not self._unix
        return same or not self.is_moment

    @cached_property
    def _groups(self) -> list[Token | list[Token]]:
        """What each group of the regular expression holds: a piece, or a component that `_split` takes apart."""
        groups: list[Token | list[Token]] = []
        for tokens in self._components:
            groups += (
                [tokens]
                if _has_many(tokens)
                else [each for each in tokens if each.kind not in ("literal", "depth")]
            )
        return groups

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        parts = [
            "(?:[^/]+/)*"
            if each[0].kind == "depth"
            # Atomic: no piece holds a slash, so another cut of a component helps nothing that fails further down.
            else f"(?>{_component_regex(each)}(?![^/])){'/' if place < len(self._components) else ''}"
            for place, each in enumerate(self._components, 1)
        ]
        return re.compile("".join(parts), re.DOTALL)

    def match(self, key: str) -> MatchedKey | None:
        """Return what the key says, or None when it does not match or holds no real date.

        The time that it takes grows with the square of the key's length at most, whatever the key.
        """
        match = self._regex.fullmatch(key)
        if match is None:
            return None
        parts: list[tuple[Token, str]] = []
        for piece, text in zip(self._groups, match.groups(), strict=True):
            if isinstance(piece, Token):
                parts.append((piece, text))
            elif (texts := _split(piece, text)) is not None:
                parts += zip(piece, texts, strict=True)
            else:
                return None
        dimensions = {token.text: text for token, text in parts if token.kind == "dimension"}
        if not self.dated:
            return MatchedKey(None, None, dimensions)
        try:
            day, moment = self._moment(parts)
        except (ValueError, OverflowError):  # no such date, or none that is one in UTC too
            return None
        return MatchedKey(day, moment, dimensions)

    def _moment(self, parts: Iterable[tuple[Token, str]]) -> tuple[date, datetime | None]:
        """Return the local day, and the moment in UTC where there is a time."""
        texts: dict[str, str] = {}
        instants: set[datetime] = set()
        for token, text in parts:
            if token.kind == "unix":
                number = int(text)
                instants.add(
                    _EPOCH
                    + (timedelta(seconds=number) if token.text == "s" else timedelta(milliseconds=number))
                )
            elif token.kind == "directive" and texts.setdefault(token.text, text) != text:
                raise ValueError("the key names two different dates")
        if instants:
            return self._at(instants, texts)
        written = _day(tuple((name, text) for name, text in texts.items() if _is_of_day(name)))
        if not self._times:
            return written, None
        wall = datetime.combine(written, time_of(texts))
        if contradicted(wall, {name: text for name, text in texts.items() if not _is_of_day(name)}):
            raise ValueError("the key names two different times")
        zone = offset_of(texts["z"]) if self._own_offset else self.key_timezone
        moment = wall.replace(tzinfo=zone).astimezone(UTC)
        return (written if self._is_local else moment.astimezone(self.timezone).date()), moment

    def _at(self, instants: set[datetime], texts: Mapping[str, str]) -> tuple[date, datetime]:
        zone = offset_of(texts["z"]) if self._own_offset else self.key_timezone
        moment, *others = instants
        if others or contradicted(moment.astimezone(zone), texts):
            raise ValueError("the key names two different times")
        return moment.astimezone(self.timezone).date(), moment

    def prefixes(self, day: date, list_prefixes: Callable[[str], Iterable[str]]) -> Iterator[DayPrefix]:
        """Yield the prefixes that together hold every key of a local day, descending through what is before the date.

        Some may lie below others.

        Args:
            day: the local calendar day.
            list_prefixes: gives the "folders" (ending in "/") directly under a prefix.
        """
        local = span(day, self.timezone)
        days = [day]
        if not self._is_local and self.dated:
            days = list(key_days(day, self.timezone, None if self._own_offset else self.key_timezone))
        for key_day in days:
            window = Window(key_day, *local)
            for prefix in _descend("", self._components, window, list_prefixes):
                yield DayPrefix(prefix, key_day != day)

    @property
    def cost(self) -> str | None:
        """What is listed for one day beyond that day; None where that is nothing."""
        window = Window(date(2001, 1, 1), *span(date(2001, 1, 1), self.timezone))
        known, directives = "", set[str]()
        for place, tokens in enumerate(self._components):
            settled = _settled(tokens, window)
            directives |= {each.text for each in tokens[:settled] if each.kind == "directive"}
            known += "".join(each.shown for each in tokens[:settled])
            if is_full_date(directives):
                return None
            stopped = tokens[settled] if settled < len(tokens) else None
            if stopped is not None and stopped.kind == "unix":
                return None
            rest = [*tokens[settled:], *(each for part in self._components[place + 1 :] for each in part)]
            last = place == len(self._components) - 1
            if (
                last
                or (stopped is not None and stopped.kind == "depth")
                or not any(each.is_of_day for each in rest)
            ):
                where = f"every key below {known!r}" if known else "every key of the source"
                return f"{self.text!r} lists {where} for each day that is planned"
            directives |= {each.text for each in tokens if each.kind == "directive"}
            if is_full_date(directives):
                return None
            known += "".join(each.shown for each in tokens[settled:]) + "/"
        return None


def _is_of_day(name: str) -> bool:
    return DIRECTIVES[name].of_day


@lru_cache(maxsize=1024)  # keys of a listing name the same few days
def _day(texts: tuple[tuple[str, str], ...]) -> date:
    return day_of(dict(texts))


def _settled(tokens: Sequence[Token], window: Window) -> int:
    """Return how many of a component's first pieces the window determines."""
    return next((place for place, each in enumerate(tokens) if each.written(window) is None), len(tokens))


def _descend(
    prefix: str,
    parts: Sequence[Sequence[Token]],
    window: Window,
    list_prefixes: Callable[[str], Iterable[str]],
) -> Iterator[str]:
    head, rest = parts[0], parts[1:]
    settled = _settled(head, window)
    known = prefix + "".join(each.written(window) or "" for each in head[:settled])
    if settled == len(head) and rest:
        yield from _descend(f"{known}/", rest, window, list_prefixes)
        return
    undecided = head[settled:]
    starts = undecided[0].beginnings(window) if undecided else [""]
    below = [*undecided, *(token for part in rest for token in part)]
    depth = any(each.kind == "depth" for each in head)
    if not rest or depth or not any(each.is_of_day for each in below):
        # Nothing further down depends on the day, or there are no folders: one flat listing is the cheapest.
        yield from (known + start for start in starts)
        return
    written = [each if (text := each.written(window)) is None else Token("literal", text) for each in head]
    for start in starts:
        for found in list_prefixes(known + start):
            if _split(written, found[len(prefix) : -1]) is not None:
                yield from _descend(found, rest, window, list_prefixes)


def _component_regex(tokens: Sequence[Token]) -> str:
    if _has_many(tokens):
        return "([^/]*)"
    return "".join(token.regex if token.kind == "literal" else f"({token.regex})" for token in tokens)


def _has_many(tokens: Sequence[Token]) -> bool:
    return sum(token.kind == "dimension" for token in tokens) > _MOST_BY_REGEX


def _split(tokens: Sequence[Token], text: str) -> list[str] | None:
    """Return the texts of a component's pieces as a regular expression would, in a time that grows with its length.

    Of a piece that found no end once, no later start is tried again: the ends that it would find are among those that
    led nowhere.
    """
    hopeless: dict[int, int] = {}

    def rest(index: int, start: int) -> list[str] | None:
        if index == len(tokens):
            return [] if start == len(text) else None
        token = tokens[index]
        if start >= hopeless.get(index, len(text) + 1):
            return None
        for end in token.ends(text, start):
            found = rest(index + 1, end)
            if found is not None:
                return [text[start:end], *found]
        if token.kind == "dimension" and token.text != "ext":
            hopeless[index] = start
        return None

    return rest(0, 0)
