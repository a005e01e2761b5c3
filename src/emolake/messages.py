"""What may be shown of a text that others had a hand in: no control of a terminal, and no secret."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

# Control characters, lone surrogates, separators of lines, and what turns the direction of writing around.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTROLS_OF_CELLS = re.compile(_CONTROLS.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))

_USER_OF_URL = re.compile(r"(?<=://)[^\s/?#@'\"]+@")
# As libpq, a URL's query and INI files write them: a value in quotes, or up to what ends a word of a query.
_NAMED_SECRET = re.compile(
    r"(?i)((?:password|passwd|secret|token|signature|credential|access_?key(?:_?id)?)\s*=\s*)"
    r"('(?:[^'\\]|\\.)*'|\"[^\"]*\"|(?:[^\s&;,'\"]|&(?![\w.~-]+=)|[;,](?=[^\s'\"]))+)"
)
_TOKEN_OF_THE_HUB = re.compile(r"\bhf_\w{16,}")


def redacted(text: str) -> str:
    """Return a text without passwords, signatures and tokens, wherever in it they are.

    >>> redacted('connection to "host=db password=hunter2" failed')
    'connection to "host=db password=***" failed'
    >>> redacted("postgres://me:hunter2@db/lake and s3://calls/a.wav?X-Amz-Signature=f00&X-Amz-Date=2026")
    'postgres://***@db/lake and s3://calls/a.wav?X-Amz-Signature=***&X-Amz-Date=2026'
    """
    text = _USER_OF_URL.sub("***@", text)
    text = _NAMED_SECRET.sub(r"\1***", text)
    return _TOKEN_OF_THE_HUB.sub("***", text)


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return a text whose control characters are escaped; line ends and tabs are kept where `lines` is set.

    >>> print(printable("red: \x1b[31m, and a second\nline"))
    red: \x1b[31m, and a second\nline
    """
    controls = _CONTROLS_OF_CELLS if lines else _CONTROLS
    return controls.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun.

    >>> counted(1, "recording"), counted(2, "analysis", "analyses")
    ('1 recording', '2 analyses')
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def validation_problems(error: "ValidationError", *, unknown: str | None = None) -> str:
    """Return what is wrong with each key, as one clause a key; their values are left out.

    Args:
        error: of pydantic.
        unknown: where the known keys can be seen, for keys that there are not.
    """
    problems = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden" and unknown is not None:
            message = f"there is no such key; {unknown}"
        problems.append(f"{key}: {message}" if key else message)
    return "; ".join(problems)
