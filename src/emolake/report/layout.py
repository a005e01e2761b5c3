"""The frame of every page of a report: one HTML file that asks nothing of the network.

Its security policy knows the scripts and styles by their hashes; data is JSON in an element that no browser runs.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from emolake.messages import redacted
from emolake.report.wording import Language, Words, catalogue

_FOLDER = files("emolake.report")
# In this order, before a page's own.
_STYLES = ("base.css",)
_SCRIPTS = ("words.js", "charts.js")


@cache
def library() -> dict[str, Any]:
    """Return what `library/library.json` says of the embedded charting library."""
    record: dict[str, Any] = json.loads(_text("library/library.json"))
    return record


def render(
    template: str,
    content: Mapping[str, Any],
    *,
    language: Language,
    data: Mapping[str, Any],
    scripts: Sequence[str] = (),
    styles: Sequence[str] = (),
    media: str | None = None,
) -> str:
    """Return a page.

    Args:
        template: file of this package that extends `base.html`.
        content: what the template shows, by name.
        language: of the words; the page can change it.
        data: what the scripts read, as `emolake.data`.
        scripts: files of this package that run after the library, `words.js` and `charts.js`.
        styles: files of this package after `base.css`.
        media: source of what the page may play; nothing when left out.
    """
    words = Words(language)
    run = [
        *(_text(f"library/{script['file']}") for script in library()["scripts"]),
        *map(_text, (*_SCRIPTS, *scripts)),
    ]
    styled = [*map(_text, (*_STYLES, *styles))]
    environment = _environment(words)
    return environment.get_template(template).render(
        content,
        words=words,
        language=language,
        languages=Language,
        policy=_policy(run, styled, media),
        styles=[Markup(text) for text in styled],
        scripts=[Markup(text) for text in run],
        data=Markup(_json({"language": language, **data})),
        catalogues=Markup(_json({each: catalogue(each) for each in Language})),
        made_at=datetime.now(UTC),
        library=library(),
    )


def _policy(scripts: Sequence[str], styles: Sequence[str], media: str | None) -> str:
    of_scripts = " ".join(map(_source, scripts))
    # The last are of the element of styles that the library itself writes.
    of_styles = " ".join([*map(_source, styles), *(f"'{each}'" for each in library()["styles"])])
    played = f" media-src {media};" if media else ""
    return (
        f"default-src 'none'; script-src {of_scripts}; style-src {of_styles};{played} "
        "base-uri 'none'; form-action 'none'"
    )


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(data: Mapping[str, Any]) -> str:
    """Return JSON that no text in it can end early, wherever in a page it is."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=str)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _text(name: str) -> str:
    # Line ends as a browser reads them, so that the hash is that of what it runs.
    return _FOLDER.joinpath(name).read_text("utf-8").replace("\r\n", "\n")


def _environment(words: Words) -> Environment:
    environment = Environment(
        loader=FunctionLoader(_text),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"redacted": redacted, "as": words.value, "formatted": words.formatted}
    environment.globals |= {"word": words.element, "said": words}
    return environment
