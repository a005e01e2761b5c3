"""A pattern for keys that are there: dates and times are found by their form, the rest by what varies."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from emolake.errors import ConfigurationError
from emolake.source.pattern import KeyPattern

_YEAR, _MONTH, _DAY = "(?:19|20)[0-9]{2}", "(?:0[1-9]|1[0-2])", "(?:0[1-9]|[12][0-9]|3[01])"
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_HOUR, _SIXTY = "(?:[01][0-9]|2[0-3])", "[0-5][0-9]"
_ZULU = ZoneInfo("UTC")
# How dates and times are written; the first that fits at a place is taken. A number in the template is a group.
_FORMS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(regex), template)
    for regex, template in (
        (f"(?<![0-9]){_YEAR}([-/_.]?){_MONTH}\\1{_DAY}(?![0-9])", "{date:%Y\\1%m\\1%d}"),
        (f"(?<![0-9]){_YEAR}{_MONTH}{_DAY}{_HOUR}{_SIXTY}{_SIXTY}(?![0-9])", "{date:%Y%m%d}{time:%H%M%S}"),
        (f"year={_YEAR}/month={_MONTH}/day={_DAY}(?![0-9])", "year={date:%Y}/month={date:%m}/day={date:%d}"),
        (f"year={_YEAR}/month=[0-9]{{1,2}}/day=[0-9]{{1,2}}(?![0-9])",
         "year={date:%Y}/month={date:%-m}/day={date:%-d}"),
        (f"(?<![0-9]){_YEAR}-W[0-5][0-9](?![0-9])", "{date:%G-W%V}"),
        (f"(?<![0-9]){_DAY}(?:{_MONTHS}){_YEAR}(?![0-9])", "{date:%d%b%Y}"),
        (f"(?<![0-9])[0-3][0-9]([-_./])[0-3][0-9]\\1{_YEAR}(?![0-9])", "{date:%m\\1%d\\1%Y}"),
        (f"(?<![0-9])[0-9]{{1,2}}([-_.])[0-9]{{1,2}}\\1{_YEAR}(?![0-9])", "{date:%-m\\1%-d\\1%Y}"),
        (f"(?<![0-9]){_HOUR}([-:_.]?){_SIXTY}\\1{_SIXTY}((?:Z|[+-][0-9]{{2}}:?[0-9]{{2}})?)(?![0-9A-Za-z])",
         "{time:%H\\1%M\\1%S\\2}"),
        (f"(?<![0-9])1?[0-9]([-:_.]){_SIXTY}\\1{_SIXTY} [AP]M", "{time:%-I\\1%M\\1%S %p}"),
        (f"(?<![0-9]){_HOUR}:{_SIXTY}(?![0-9:])", "{time:%H:%M}"),
        (f"hour={_HOUR}(?![0-9])", "hour={time:%H}"),
        ("(?<![0-9])1[0-9]{12}(?![0-9])", "{unix:ms}"),
        ("(?<![0-9])1[0-9]{9}(?![0-9])", "{unix:s}"),
    )
)  # fmt: skip
_UUID = re.compile("[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_WORD = re.compile(f"({_UUID.pattern}|[^-_ @.,+()=]+(?:@[^ _/]+)?|[+][0-9]+)")
_EDGES = re.compile("([-_ .,]*)(.*?)([-_ .,]*)", re.DOTALL)
_ENDING = re.compile("(.+)([.])([A-Za-z0-9]{1,5})", re.DOTALL)
_NAMED = re.compile("([A-Za-z_][A-Za-z0-9_]*)=(.+)", re.DOTALL)
_MOST_PATTERNS = 4
_WORTH_A_PATTERN = 0.02
# Of fewer keys alike it is not believed that what is the same in them is so in all.
_FEW = 5


@dataclass(frozen=True)
class Proposal:
    """A pattern, or several, and how many of the keys that were looked at they match."""

    patterns: tuple[str, ...]
    matched: int
    keys: int
    dated: bool
    """Whether the keys show a date."""


@dataclass(frozen=True)
class _Piece:
    """A piece of a key: a `field` with a date or time, a `text` between words, or a `word`."""

    kind: str
    text: str


def propose(keys: Sequence[str]) -> Proposal:
    """Return the patterns that read the most of some keys; none where no key shows a date.

    >>> propose(["oslo/2026/11/20/a.wav", "bonn/2026/11/21/b.wav"]).patterns
    ('{site}/{date:%Y/%m/%d}/{call_id}.{ext}',)
    """
    for undated in (False, True):
        patterns, matched = _covering(keys, undated)
        if patterns:
            return Proposal(tuple(patterns), matched, len(keys), not undated)
    return Proposal((), 0, len(keys), True)


def _covering(keys: Sequence[str], undated: bool) -> tuple[list[str], int]:
    """Return the patterns that read most of some keys, the best first, and how many they read."""
    rest, patterns = list(keys), list[str]()
    while rest and len(patterns) < _MOST_PATTERNS:
        read = {each: _read(each, rest, undated) for each in _candidates(rest)}
        best = max(read, key=lambda each: _worth(each, len(read[each])), default="")
        if not best or len(read[best]) < max(1, _WORTH_A_PATTERN * len(keys)):
            break
        patterns.append(best)
        rest = [key for key in rest if key not in read[best]]
    return patterns, len(keys) - len(rest)


def _candidates(keys: Sequence[str]) -> Iterator[str]:
    for timed in (True, False):
        alike: dict[tuple[_Piece, ...], list[list[str]]] = defaultdict(list)
        for key in keys:
            shape, words = _shape(key, timed)
            alike[shape].append(words)
        groups = sorted(alike.items(), key=lambda group: -len(group[1]))[:_MOST_PATTERNS]
        for shape, rows in groups:
            text = _pattern(shape, rows)
            yield text
            yield swapped(text)
            folder = text.find("/", text.find("}", text.rfind("{date")))
            if "{date" in text and folder > 0:
                yield f"{text[:folder]}/{{**}}/{{call_id}}.{{ext}}"


def swapped(text: str) -> str:
    """Return a pattern with day and month the other way around, where they stand before a year."""
    return re.sub("(%-?)m([-_./]%-?)d([-_./]%Y)", "\\1d\\2m\\3", text)


def _read(text: str, keys: Sequence[str], undated: bool) -> set[str]:
    try:
        pattern = KeyPattern(text, _ZULU, undated=undated)
    except ConfigurationError:
        return set()
    return {key for key in keys if pattern.match(key) is not None}


def _worth(text: str, read: int) -> tuple[float, bool, int]:
    """Return by what one of two patterns is the better: what it reads, a time, then few words.

    Folders that are not kept are worth it only where many more keys are read.
    """
    return (read * (0.8 if "{**}" in text else 1.0), "{time" in text or "{unix" in text, -len(text))


def _shape(key: str, timed: bool) -> tuple[tuple[_Piece, ...], list[str]]:
    """Return a key's pieces with its words left blank, and the words."""
    shape: list[_Piece] = []
    words: list[str] = []
    for piece in _pieces(key, timed):
        if piece.kind != "word":
            shape.append(piece)
            continue
        before, word, after = _EDGES.fullmatch(piece.text).groups()  # type: ignore[union-attr]
        for part in (_Piece("text", before), _Piece("word", ""), _Piece("text", after)):
            if part.kind == "word":
                if word:
                    shape.append(part)
                    words.append(word)
            elif part.text:
                shape.append(part)
    return tuple(shape), words


def _pieces(key: str, timed: bool) -> Iterator[_Piece]:
    ending = _ENDING.fullmatch(key.rpartition("/")[2])
    body = key if ending is None else key[: -1 - len(ending.group(3))]
    place, text = 0, ""
    dated = False
    while place < len(body):
        if uuid := _UUID.match(body, place):
            text += uuid.group()
            place = uuid.end()
            continue
        found = _field(body, place, timed, dated)
        if found is None and body[place] != "/":
            text += body[place]
            place += 1
            continue
        if text:
            yield _Piece("word", text)
            text = ""
        if found is None:
            yield _Piece("text", "/")
            place += 1
        else:
            yield _Piece("field", found[0])
            place, dated = found[1], True
    if text:
        yield _Piece("word", text)
    if ending is not None:
        yield _Piece("field", ".{ext}")


def _field(body: str, place: int, timed: bool, dated: bool) -> tuple[str, int] | None:
    for form, template in _FORMS:
        # Beside a date, what looks like a time since 1970 is an identifier that need not be of the same second.
        wanted = "{date" in template or (timed and not (dated and "{unix" in template))
        if wanted and (found := form.match(body, place)):
            return _offset(found.expand(template)), found.end()
    return None


def _offset(field: str) -> str:
    return re.sub("[+-][0-9]{2}:?[0-9]{2}}", "%z}", field)


def _pattern(shape: Sequence[_Piece], rows: Sequence[Sequence[str]]) -> str:
    """Return the pattern of keys alike: words that are the same in all are text, others become dimensions."""
    columns = iter(list(zip(*rows, strict=True)))
    parts: list[str | list[str]] = []  # text, or the values of a dimension
    for piece in shape:
        if piece.kind == "word":
            parts += _parted(next(columns))
        else:
            parts.append(piece.text if piece.kind == "field" else _escaped(piece.text))
    return _named(parts)


def _parted(words: Sequence[str]) -> Iterator[str | list[str]]:
    """Yield what a column of words is made of: the same text, or values, parted where all have the same separators."""
    if len(set(words)) == 1:
        yield list(words) if len(words) < _FEW else _escaped(words[0])
        return
    cut = [_WORD.split(word) for word in words]
    same = len({tuple(each[::2]) for each in cut}) == 1
    for place, column in enumerate(zip(*cut, strict=True) if same else [("",) * len(words), words]):
        if len(set(column)) == 1:
            yield _escaped(column[0])
        elif place % 2:
            yield list(column)


def _named(parts: Sequence[str | list[str]]) -> str:
    last_slash = max(
        (place for place, part in enumerate(parts) if isinstance(part, str) and "/" in part), default=-1
    )
    in_name = [place for place, part in enumerate(parts) if isinstance(part, list) and place > last_slash]
    call = max(in_name, key=lambda place: (len(set(parts[place])), len(parts[place][0])), default=None)
    taken: Counter[str] = Counter()
    text = ""
    for place, part in enumerate(parts):
        if isinstance(part, str):
            text += part
            continue
        prefix, name = "", "call_id" if place == call else _name(part, place > last_slash, text)
        named = [_NAMED.fullmatch(each) for each in part]
        names = {each and each.group(1) for each in named}
        if len(names) == 1 and None not in names:
            name = next(iter(names)) or name
            prefix = f"{name}="
        taken[name] += 1
        text += f"{prefix}{{{name if taken[name] == 1 else f'{name}{taken[name]}'}}}"
    return text


def _name(values: Sequence[str], in_name: bool, before: str) -> str:
    if all("@" in each for each in values):
        return "agent"
    if all(re.fullmatch("[+]?[0-9]{6,15}", each) for each in values):
        return "number"
    if before.endswith("=") and (found := re.search("([A-Za-z_][A-Za-z0-9_]*)=$", before)):
        return found.group(1)
    return "part" if in_name else "site" if "{site" not in before else "folder"


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
