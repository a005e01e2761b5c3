"""The key pattern: which day a key belongs to, and which prefixes hold the keys of one day.

`{date:%Y/%m/%d}` and `{time:%H%M%S}` hold strftime directives; every other name becomes a dimension.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property, lru_cache
from string import Formatter
from zoneinfo import ZoneInfo

from emolake.errors import ConfigurationError

_DAY_DIRECTIVES = {"Y": "[0-9]{4}", "y": "[0-9]{2}", "m": "[0-9]{2}", "d": "[0-9]{2}", "j": "[0-9]{3}"}
_TIME_DIRECTIVES = {"H": "[0-9]{2}", "M": "[0-9]{2}", "S": "[0-9]{2}", "f": "[0-9]{1,6}"}
_DIRECTIVES = _DAY_DIRECTIVES | _TIME_DIRECTIVES
# More dimensions between two slashes than this are parted by `_split`: a regular expression tries every way to
# cut a key into them, and a key of a thousand underscores has more ways than there is time.
_MOST_BY_REGEX = 2


@dataclass(frozen=True)
class _Token:
    """A piece of the pattern: literal text, a strftime directive, or a dimension."""

    kind: str  # "literal", "directive" or "dimension"
    text: str

    @property
    def regex(self) -> str:
        """Regular expression of the piece."""
        if self.kind == "literal":
            return re.escape(self.text)
        if self.kind == "dimension":
            return "[^./]+" if self.text == "ext" else "[^/]+?"
        return _DIRECTIVES[self.text]

    def ends(self, text: str, start: int) -> Iterator[int]:
        """Yield where the piece can end that begins at `start` of a text without slashes, in its expression's order."""
        if self.kind == "dimension":
            stop = text.find(".", start) if self.text == "ext" else -1
            ends = range(start + 1, (len(text) if stop < 0 else stop) + 1)
            yield from reversed(ends) if self.text == "ext" else ends
        elif self.kind == "literal":
            if text.startswith(self.text, start):
                yield start + len(self.text)
        elif found := re.compile(_DIRECTIVES[self.text]).match(text, start):
            # only the digits of a second are of no fixed number
            yield from range(found.end(), start, -1) if self.text == "f" else (found.end(),)

    def known(self, day: date) -> str | None:
        """Return the text of the piece on that day, or None where the day does not determine it."""
        if self.kind == "literal":
            return self.text
        if self.kind == "directive" and self.text in _DAY_DIRECTIVES:
            return _written(day, self.text)
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
        # What is said of a date in two ways must be the same date; where there is one way, there is nothing to compare.
        self._twice = {"Y", "y"} <= directives or ("j" in directives and bool({"m", "d"} & directives))
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
    def _components(self) -> list[list[_Token]]:
        return _split_components(self._tokens)

    @cached_property
    def _groups(self) -> list[_Token | list[_Token]]:
        """What each group of the regular expression holds: a piece, or a component that `_split` takes apart."""
        groups: list[_Token | list[_Token]] = []
        for tokens in self._components:
            groups += (
                [tokens] if _is_ambiguous(tokens) else [each for each in tokens if each.kind != "literal"]
            )
        return groups

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        # Atomic: no piece holds a slash, so cutting a component in another way helps nothing that fails further down.
        return re.compile(
            "/".join(f"(?>{_component_regex(each)}(?![^/]))" for each in self._components), re.DOTALL
        )

    def match(self, key: str) -> MatchedKey | None:
        """Return what the key says, or None when it does not match or holds no real date.

        The time that it takes grows with the square of the key's length at most, whatever the key.
        """
        match = self._regex.fullmatch(key)
        if match is None:
            return None
        parts: list[tuple[_Token, str]] = []
        for piece, text in zip(self._groups, match.groups(), strict=True):
            if isinstance(piece, _Token):
                parts.append((piece, text))
            elif (texts := _split(piece, text)) is not None:
                parts += zip(piece, texts, strict=True)
            else:
                return None
        directives = tuple((token.text, text) for token, text in parts if token.kind == "directive")
        recorded_at = None
        try:
            moment = _moment(directives)
            if any(directive in _TIME_DIRECTIVES for directive, _ in directives):
                recorded_at = moment.replace(tzinfo=self.timezone).astimezone(UTC)
        except (ValueError, OverflowError):  # no such date, or none that is one in UTC too
            return None
        if self._twice and any(
            text != _written(moment, each) for each, text in directives if each in _DAY_DIRECTIVES
        ):
            return None
        dimensions = {token.text: text for token, text in parts if token.kind == "dimension"}
        return MatchedKey(moment.date(), recorded_at, dimensions)

    def day_prefixes(self, day: date, list_prefixes: Callable[[str], Iterable[str]]) -> Iterator[str]:
        """Yield the prefixes that together hold every key of a day, descending through the dimensions before the date.

        Args:
            day: the local calendar day.
            list_prefixes: gives the "folders" (ending in "/") directly under a prefix.
        """
        yield from _descend("", self._components, day, list_prefixes)


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
    written = [_Token("literal", _written(day, each.text)) if _is_day(each) else each for each in head]
    for found in list_prefixes(prefix + known):
        if _split(written, found[len(prefix) : -1]) is not None:
            yield from _descend(found, rest, day, list_prefixes)


def _component_regex(tokens: Sequence[_Token]) -> str:
    if _is_ambiguous(tokens):
        return "([^/]*)"
    return "".join(token.regex if token.kind == "literal" else f"({token.regex})" for token in tokens)


def _is_ambiguous(tokens: Sequence[_Token]) -> bool:
    return sum(token.kind == "dimension" for token in tokens) > _MOST_BY_REGEX


def _split(tokens: Sequence[_Token], text: str) -> list[str] | None:
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


def _written(moment: date, directive: str) -> str:
    """Return what a directive of the day writes; `strftime` leaves out the noughts of the first centuries."""
    return f"{moment.year:04d}" if directive == "Y" else moment.strftime(f"%{directive}")


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
        if name in ("date", "time") and spec and not conversion:
            yield from _tokenise_strftime(text, spec)
        elif name in ("date", "time") or not name.isidentifier() or spec or conversion:
            raise ConfigurationError(
                f"the pattern {text!r} holds {{{name}}}; "
                "expected {date:…}, {time:…} or a plain name such as {site}"
            )
        else:
            yield _Token("dimension", name)


def _tokenise_strftime(text: str, spec: str) -> Iterator[_Token]:
    for piece in re.findall(r"%.?|[^%]+", spec, re.DOTALL):
        if not piece.startswith("%"):
            yield _Token("literal", piece)
        elif piece == "%%":
            yield _Token("literal", "%")
        elif piece[1:] in _DIRECTIVES:
            yield _Token("directive", piece[1])
        else:
            known = " ".join(f"%{directive}" for directive in _DIRECTIVES)
            raise ConfigurationError(
                f"the pattern {text!r} uses {piece}; the directives it can use are {known}"
            )


@lru_cache(maxsize=1024)  # keys of a listing name the same few days, and strptime is slow
def _moment(directives: tuple[tuple[str, str], ...]) -> datetime:
    """Parse the directives' texts.

    Raises:
        ValueError: no such date, or one directive is there twice with different texts.
    """
    texts = dict(directives)
    if any(texts[directive] != text for directive, text in directives):
        raise ValueError("the key names two different dates")
    # The separator cannot occur in the texts, so they never run together.
    return datetime.strptime("\n".join(texts.values()), "\n".join(f"%{directive}" for directive in texts))
