"""The key pattern: which day a key belongs to, and which prefixes hold the keys of one day.

`{date:%Y/%m/%d}` and `{time:%H%M%S}` hold strftime directives; every other name becomes a dimension.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from string import Formatter
from zoneinfo import ZoneInfo

from emolake.errors import ConfigurationError

_DAY_DIRECTIVES = {"Y": "[0-9]{4}", "y": "[0-9]{2}", "m": "[0-9]{2}", "d": "[0-9]{2}", "j": "[0-9]{3}"}
_TIME_DIRECTIVES = {"H": "[0-9]{2}", "M": "[0-9]{2}", "S": "[0-9]{2}", "f": "[0-9]{1,6}"}
_DIRECTIVES = _DAY_DIRECTIVES | _TIME_DIRECTIVES


@dataclass(frozen=True)
class _Token:
    """A piece of the pattern: literal text, a strftime directive, or a dimension."""

    kind: str  # "literal", "directive" or "dimension"
    text: str

    def regex(self, day: date | None) -> str:
        """Regular expression of the piece; `day` fixes the directives that a day determines."""
        if self.kind == "literal":
            return re.escape(self.text)
        if self.kind == "dimension":
            return "[^./]+" if self.text == "ext" else "[^/]+?"
        if day is not None and self.text in _DAY_DIRECTIVES:
            return re.escape(day.strftime(f"%{self.text}"))
        return _DIRECTIVES[self.text]

    def known(self, day: date) -> str | None:
        """Text of the piece on that day, or None where the day does not determine it."""
        if self.kind == "literal":
            return self.text
        if self.kind == "directive" and self.text in _DAY_DIRECTIVES:
            return day.strftime(f"%{self.text}")
        return None


@dataclass(frozen=True)
class MatchedKey:
    """What a key says of its recording; `recorded_at` is in UTC, None when the pattern has no time."""

    date: date
    recorded_at: datetime | None
    dimensions: dict[str, str]


class KeyPattern:
    """A parsed pattern of object keys.

    >>> pattern = KeyPattern("{date:%Y/%m/%d}/{site}/{call_id}.{ext}", ZoneInfo("Europe/Berlin"))
    >>> pattern.match("2026/11/20/oslo/call 1.wav").dimensions
    {'site': 'oslo', 'call_id': 'call 1', 'ext': 'wav'}

    Raises:
        ConfigurationError: the pattern has no full date, an unknown directive, or names a dimension twice.
    """

    def __init__(self, text: str, timezone: ZoneInfo) -> None:
        self.text = text
        self.timezone = timezone
        self._tokens = tuple(_tokenise(text))
        self.dimensions = tuple(token.text for token in self._tokens if token.kind == "dimension")
        directives = {token.text for token in self._tokens if token.kind == "directive"}
        if not ({"Y", "y"} & directives and ({"m", "d"} <= directives or "j" in directives)):
            raise ConfigurationError(
                f"the pattern {text!r} does not give a full date; it needs a field such as {{date:%Y/%m/%d}}"
            )
        twice = {name for name in self.dimensions if self.dimensions.count(name) > 1}
        if twice:
            raise ConfigurationError(
                f"the pattern {text!r} names {', '.join(sorted(twice))} twice; rename one of them"
            )

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile("".join(f"({token.regex(None)})" for token in self._tokens), re.DOTALL)

    def match(self, key: str) -> MatchedKey | None:
        """Return what the key says, or None when it does not match or holds no real date."""
        match = self._regex.fullmatch(key)
        if match is None:
            return None
        parts = list(zip(self._tokens, match.groups(), strict=True))
        directives = [(token.text, text) for token, text in parts if token.kind == "directive"]
        try:
            moment = _moment(directives)
        except ValueError:
            return None
        recorded_at = None
        if any(directive in _TIME_DIRECTIVES for directive, _ in directives):
            recorded_at = moment.replace(tzinfo=self.timezone).astimezone(UTC)
        dimensions = {token.text: text for token, text in parts if token.kind == "dimension"}
        return MatchedKey(moment.date(), recorded_at, dimensions)

    def day_prefixes(self, day: date, list_prefixes: Callable[[str], Iterable[str]]) -> Iterator[str]:
        """Yield the prefixes that together hold every key of a day, descending through the dimensions before the date.

        Args:
            day: the local calendar day.
            list_prefixes: gives the "folders" (ending in "/") directly under a prefix.
        """
        components = _split_components(self._tokens)
        yield from _descend("", components, day, list_prefixes)


def _descend(
    prefix: str, components: list[list[_Token]], day: date, list_prefixes: Callable[[str], Iterable[str]]
) -> Iterator[str]:
    head, rest = components[0], components[1:]
    texts = [token.known(day) for token in head]
    settled = texts.index(None) if None in texts else len(texts)
    known = "".join(text for text in texts[:settled] if text is not None)
    if settled == len(head) and rest:
        yield from _descend(f"{prefix}{known}/", rest, day, list_prefixes)
        return
    undecided = [*head[settled:], *(token for component in rest for token in component)]
    if not rest or not any(_is_day(token) for token in undecided):
        # Nothing further down depends on the day, or there are no folders: one flat listing is the cheapest.
        yield prefix + known
        return
    component = re.compile("".join(token.regex(day) for token in head), re.DOTALL)
    for found in list_prefixes(prefix + known):
        if component.fullmatch(found[len(prefix) : -1]):
            yield from _descend(found, rest, day, list_prefixes)


def _is_day(token: _Token) -> bool:
    return token.kind == "directive" and token.text in _DAY_DIRECTIVES


def _split_components(tokens: Iterable[_Token]) -> list[list[_Token]]:
    components: list[list[_Token]] = [[]]
    for token in tokens:
        if token.kind != "literal":
            components[-1].append(token)
            continue
        first, *others = token.text.split("/")
        components[-1].append(_Token("literal", first))
        components.extend([_Token("literal", other)] for other in others)
    return components


def _tokenise(text: str) -> Iterator[_Token]:
    try:
        fields = list(Formatter().parse(text))
    except ValueError as error:
        raise ConfigurationError(
            f"the pattern {text!r} cannot be read: {error}; braces come in pairs"
        ) from error
    for literal, name, spec, conversion in fields:
        if literal:
            yield _Token("literal", literal)
        if name is None:
            continue
        if name in ("date", "time"):
            yield from _tokenise_strftime(text, spec or "")
        elif not name.isidentifier() or spec or conversion:
            raise ConfigurationError(
                f"the pattern {text!r} holds {{{name}}}; "
                "expected {date:…}, {time:…} or a plain name such as {site}"
            )
        else:
            yield _Token("dimension", name)


def _tokenise_strftime(text: str, spec: str) -> Iterator[_Token]:
    for piece in re.findall(r"%.|[^%]+", spec, re.DOTALL):
        if not piece.startswith("%"):
            yield _Token("literal", piece)
        elif piece == "%%":
            yield _Token("literal", "%")
        elif piece[1] in _DIRECTIVES:
            yield _Token("directive", piece[1])
        else:
            known = " ".join(f"%{directive}" for directive in _DIRECTIVES)
            raise ConfigurationError(
                f"the pattern {text!r} uses {piece}; the directives it can use are {known}"
            )


def _moment(directives: list[tuple[str, str]]) -> datetime:
    """Parse the directives' texts.

    Raises:
        ValueError: no such date, or one directive stands twice with different texts.
    """
    texts = dict(directives)
    if any(texts[directive] != text for directive, text in directives):
        raise ValueError("the key names two different dates")
    # The separator cannot occur in the texts, so they never run together.
    return datetime.strptime("\n".join(texts.values()), "\n".join(f"%{directive}" for directive in texts))
