"""The pieces of a key pattern, and how a pattern's text is cut into them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import lru_cache
from string import Formatter

from emolake.errors import ConfigurationError
from emolake.source.directives import DIRECTIVES

# Digits of a time since 1970 that are its units of about three hours: a day is listed by nine or ten such prefixes.
_UNIX_DIGITS = {"s": 10, "ms": 13}
_UNIX_BEGINNING = 6
# What cannot be told apart: dimensions side by side, or digits of no fixed number beside more digits or a dimension.
_AMBIGUOUS = re.compile("DD|VN*V|DN*V|VN*D")
_UTC_AFTER = re.compile("[ _-]?(Z|UTC|GMT)(?![A-Za-z0-9])")
_UTC_BEFORE = re.compile("(?<![A-Za-z0-9])(UTC|GMT)[ _-]?$")


@dataclass(frozen=True)
class Window:
    """The part of time that a listing is for."""

    day: date
    """The day as keys write it."""
    first_s: int
    """Seconds since 1970 of its beginning."""
    last_s: int
    """Seconds since 1970 of its end, which is not part of it."""


@dataclass(frozen=True)
class Token:
    """A piece of the pattern."""

    kind: str
    """`literal`, `directive` of strftime, `dimension`, `unix` for a time since 1970, or `depth` for any folders."""
    text: str
    """The literal, the directive without its %, the dimension's name, or the unit of a time since 1970."""

    @property
    def regex(self) -> str:
        """Regular expression of the piece."""
        if self.kind == "literal":
            return re.escape(self.text)
        if self.kind == "dimension":
            return "[^./]+" if self.text == "ext" else "[^/]+?"
        if self.kind == "unix":
            return f"[1-9][0-9]{{{_UNIX_DIGITS[self.text] - 1}}}"
        return DIRECTIVES[self.text].regex

    @property
    def is_of_day(self) -> bool:
        """Whether it says something of the day."""
        return self.kind == "unix" or (self.kind == "directive" and DIRECTIVES[self.text].of_day)

    @property
    def shown(self) -> str:
        """The piece as a pattern writes it."""
        forms = {"directive": f"%{self.text}", "unix": f"{{unix:{self.text}}}", "literal": self.text}
        return forms.get(self.kind, f"{{{self.text}}}")

    def ends(self, text: str, start: int) -> Iterator[int]:
        """Yield where the piece can end that begins at `start` of a text without slashes, in its expression's order."""
        if self.kind == "dimension":
            stop = text.find(".", start) if self.text == "ext" else -1
            ends = range(start + 1, (len(text) if stop < 0 else stop) + 1)
            yield from reversed(ends) if self.text == "ext" else ends
        elif self.kind == "literal":
            if text.startswith(self.text, start):
                yield start + len(self.text)
        else:
            expression = _compiled(self.regex)
            if found := expression.match(text, start):
                yield found.end()
                # only what has no fixed number of digits can end earlier too
                for end in range(found.end() - 1, start, -1):
                    if expression.fullmatch(text, start, end):
                        yield end

    def written(self, window: Window) -> str | None:
        """Return the whole text of the piece in keys of a window, or None where the window does not determine it."""
        if self.kind == "literal":
            return self.text
        if self.kind == "directive" and self.is_of_day:
            return DIRECTIVES[self.text].writes(datetime.combine(window.day, time()))
        return None

    def beginnings(self, window: Window) -> Sequence[str]:
        """Return what the piece can begin with in keys of a window, where that does not determine the whole."""
        if self.kind != "unix":
            return [""]
        width = 10 ** (10 - _UNIX_BEGINNING)
        first, last = max(window.first_s, 10**9), min(window.last_s, 10**10)
        return [str(each) for each in range(first // width, (last - 1) // width + 1)] if first < last else []


@lru_cache(maxsize=64)
def _compiled(regex: str) -> re.Pattern[str]:
    return re.compile(regex)


def tokenise(text: str) -> tuple[Token, ...]:
    """Return the pieces of a pattern.

    Raises:
        ConfigurationError: the text is no pattern.
    """
    try:
        fields = list(Formatter().parse(text))
    except ValueError as error:
        raise ConfigurationError(
            f"the pattern {text!r} cannot be read: {error}; braces come in pairs"
        ) from error
    tokens: list[Token] = []
    for literal, name, spec, conversion in fields:
        if literal:
            tokens.append(Token("literal", literal))
        if name is None:
            continue
        if name in ("date", "time") and spec and not conversion:
            tokens += _tokenise_strftime(text, spec)
        elif name == "unix" and spec in _UNIX_DIGITS and not conversion:
            tokens.append(Token("unix", spec))
        elif name == "**" and not spec and not conversion:
            tokens.append(Token("depth", name))
        elif name in ("date", "time") or not name.isidentifier() or spec or conversion:
            raise ConfigurationError(
                f"the pattern {text!r} holds {{{name}}}; "
                "expected {date:…}, {time:…}, {unix:s}, {unix:ms}, {**} or a plain name such as {site}"
            )
        else:
            tokens.append(Token("dimension", name))
    return tuple(tokens)


def components(text: str, tokens: Iterable[Token]) -> list[list[Token]]:
    """Return the pieces between two slashes each.

    Raises:
        ConfigurationError: pieces of one component cannot be told apart, or {**} is not a folder of its own.
    """
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token.kind != "literal":
            parts[-1].append(token)
            continue
        first, *others = token.text.split("/")
        parts[-1].append(Token("literal", first))
        parts.extend([Token("literal", other)] for other in others)
    parts = [_joined(part) for part in parts]
    for part in parts:
        _check(text, part)
    depths = [place for place, part in enumerate(parts) if part == [Token("depth", "**")]]
    if len(depths) > 1 or (depths and depths[0] == len(parts) - 1):
        raise ConfigurationError(
            f"the pattern {text!r} holds {{**}} {'twice' if len(depths) > 1 else 'at its end'}; "
            "it is for any number of folders, once, and before the file's name"
        )
    return parts


def says_utc(tokens: Sequence[Token]) -> bool:
    """Return whether the text around the times says that they are in UTC: a Z, UTC or GMT behind or before them."""
    for place, token in enumerate(tokens):
        if token.kind != "literal":
            continue
        before = tokens[place - 1] if place else None
        behind = tokens[place + 1] if place + 1 < len(tokens) else None
        after_time = before is not None and before.kind == "directive" and not before.is_of_day
        if after_time and _UTC_AFTER.match(token.text):
            return True
        if behind is not None and behind.kind == "directive" and _UTC_BEFORE.search(token.text):
            return True
    return False


def _tokenise_strftime(text: str, spec: str) -> Iterator[Token]:
    for piece in re.findall(r"%[-^]?.|%|[^%]+", spec):
        if not piece.startswith("%"):
            yield Token("literal", piece)
        elif piece == "%%":
            yield Token("literal", "%")
        elif piece[1:] in DIRECTIVES:
            yield Token("directive", piece[1:])
        else:
            known = " ".join(f"%{directive}" for directive in DIRECTIVES)
            raise ConfigurationError(
                f"the pattern {text!r} uses {piece}; the directives it can use are {known}"
            )


def _joined(part: list[Token]) -> list[Token]:
    """Return a component with neighbouring literals as one, and without empty ones beside others."""
    joined: list[Token] = []
    for token in part:
        if joined and token.kind == joined[-1].kind == "literal":
            joined[-1] = Token("literal", joined[-1].text + token.text)
        else:
            joined.append(token)
    return [token for token in joined if token != Token("literal", "")] or [Token("literal", "")]


def _check(text: str, part: list[Token]) -> None:
    if any(token.kind == "depth" for token in part) and len(part) > 1:
        raise ConfigurationError(
            f"the pattern {text!r} holds {{**}} beside other text; it is a folder of its own: …/{{**}}/…"
        )
    symbols, of = "", list[Token]()
    for token in part:
        each = _symbols(token)
        symbols += each
        of += [token] * len(each)
    if found := _AMBIGUOUS.search(symbols):
        first, second = of[found.start()], of[found.end() - 1]
        raise ConfigurationError(
            f"the pattern {text!r} is ambiguous: {first.shown} and {second.shown} follow each other without a "
            "separator, so that no one can say where one ends; put one between them, or make them one name"
        )


def _symbols(token: Token) -> str:
    """Return what is next to others: a Dimension, Varying digits, a fixed Number of them, or Separators."""
    if token.kind == "literal":
        return "".join("N" if each.isdigit() else "S" for each in token.text)
    if token.kind in ("dimension", "depth"):
        return "D"
    if token.kind == "unix":
        return "N"
    return {"fixed": "N", "varying": "V", "letters": "S"}[DIRECTIVES[token.text].length]
