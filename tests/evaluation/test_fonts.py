"""Letters that the base font lacks."""

import warnings
from importlib.util import find_spec

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from emolake.evaluation.fonts import drawable, families_for

CUNEIFORM = ("𒀀𒀁", "𒀂")  # no font of a usual machine has it


def test_latin_needs_one_font():
    assert families_for("anger, Ärger") == (("DejaVu Sans",), frozenset())


@pytest.mark.parametrize(
    ("package", "words"),
    [("koreanize_matplotlib", ("분노", "기쁨")), ("matplotlib_fontja", ("怒り", "悲しみ", "軽蔑"))],
)
def test_korean_and_japanese_are_drawn_without_a_missing_letter(package, words):
    if find_spec(package) is None:
        pytest.skip(f"{package}, which carries the font, is not installed")
    names = drawable(words, ["x"] * len(words))
    assert names.words == words
    assert not names.legend
    with mpl.rc_context({"font.family": names.families}), warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = Figure()
        figure.text(0, 0.5, " ".join(words))
        figure.canvas.draw()


def test_what_no_font_has_is_said_and_shown_otherwise(capfd):
    families, missing = families_for("".join(CUNEIFORM))
    if not missing:
        pytest.skip(f"this machine has cuneiform, in {families[-1]}")
    assert missing == set("".join(CUNEIFORM))
    assert drawable(CUNEIFORM, ("anger", "fear")).words == ("anger", "fear")
    assert "install the packages matplotlib-fontja and koreanize-matplotlib" in capfd.readouterr().err
    names = drawable(CUNEIFORM, CUNEIFORM)
    assert names.words == ("1", "2")
    assert names.legend == {"1": CUNEIFORM[0], "2": CUNEIFORM[1]}
