"""Fonts that have the letters of label names: matplotlib's own has no Korean and no Japanese."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from matplotlib import font_manager

from emolake.output.notices import complain

_BASE = "DejaVu Sans"
# Packages that carry a font, and where: found by path, since importing them would change matplotlib's settings.
_PACKAGED = (
    ("matplotlib_fontja", "fonts/ipaexg.ttf"),
    ("koreanize_matplotlib", "fonts/NanumGothic.ttf"),
)
_BOXES = "Last Resort"  # of matplotlib: a box for every letter there is
_PLAIN_WEIGHTS = (400, "normal", "regular", "book")


@dataclass(frozen=True)
class PlotLabels:
    """How labels are drawn in a plot."""

    words: tuple[str, ...]
    families: tuple[str, ...]
    """Fonts that together have the letters of the words."""
    legend: dict[str, str]
    """Number -> label, where the words are numbers because no font has the letters of the labels."""


def drawable(names: Sequence[str], labels: Sequence[str]) -> PlotLabels:
    """Return the first that can be drawn of the names, the plain labels, and numbers; warn if it is not the names."""
    for words in (names, labels):
        families, missing = families_for("".join(words))
        if not missing:
            return PlotLabels(tuple(words), families, {})
        complain(
            f"no font has the letters {''.join(sorted(missing))} of the labels, so the plots show something else; "
            "install the packages matplotlib-fontja and koreanize-matplotlib, or a font that has them"
        )
    numbers = tuple(str(number) for number in range(1, len(names) + 1))
    return PlotLabels(numbers, (_BASE,), dict(zip(numbers, names, strict=True)))


def families_for(text: str) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return font families that together have the letters of a text, the base first, and the letters that none has."""
    families = [_BASE]
    missing = {letter for letter in text if not letter.isspace()} - _letters(font_manager.findfont(_BASE))
    if missing:
        for family, path in _candidates():
            found = missing & _letters(path)
            if found:
                families.append(family)
                missing -= found
            if not missing:
                break
    return tuple(families), frozenset(missing)


def _candidates() -> Iterator[tuple[str, str]]:
    """Yield family and path of the fonts of packages, then of the plain ones that are installed."""
    for path in _packaged():
        yield font_manager.get_font(path).family_name, path
    for entry in sorted(font_manager.fontManager.ttflist, key=lambda entry: (entry.name, str(entry.fname))):
        plain = entry.style == "normal" and entry.weight in _PLAIN_WEIGHTS
        if plain and not entry.name.startswith(_BOXES):
            yield entry.name, str(entry.fname)


@cache
def _packaged() -> tuple[str, ...]:
    """Register the packages' fonts with matplotlib, and return their paths."""
    paths = []
    for package, name in _PACKAGED:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            path = Path(folder, name)
            if path.is_file():
                font_manager.fontManager.addfont(path)
                paths.append(str(path))
    return tuple(paths)


@cache
def _letters(path: str) -> frozenset[str]:
    try:
        return frozenset(map(chr, font_manager.get_font(path).get_charmap()))
    except RuntimeError:  # FreeType cannot read the file, so it has no letters
        return frozenset()
