"""A competition's CSV: every id predicted, nothing else changed."""

import numpy as np
import pytest
import soundfile

from emolake.errors import ConfigurationError
from emolake.evaluation.submission import fill_submission
from emolake.settings import Settings

from made_model import LABELS, write_tiny_model

SETTINGS = Settings()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("competition")
    write_tiny_model(folder / "tiny")
    (folder / "test").mkdir()
    generator = np.random.default_rng(0)
    for number, level in enumerate((0.1, 0.0, 0.3)):  # the second is silent
        soundfile.write(folder / "test" / f"T{number}.wav", generator.normal(0, level, 8_000), 16_000)
    return folder


@pytest.fixture
def fill(site, tmp_path):
    def filled(text, *places, labels=None):
        sample = tmp_path / "sample_submission.csv"
        sample.write_text(text, "utf-8")
        entry = SETTINGS.registry.entry_or_folder(str(site / "tiny"))
        found = fill_submission(sample, places, settings=SETTINGS, entry=entry, labels=labels)
        assert all(list(row) == found.columns for row in found.rows)
        return found.bad, found.rows

    return filled


def test_ids_are_the_names_of_clips_and_silence_is_predicted(fill, site):
    bad, rows = fill("id,label\nT2,?\nT0,?\nT1,?\n", site / "test")
    assert bad == 0
    assert [row["id"] for row in rows] == ["T2", "T0", "T1"]
    assert {row["label"] for row in rows} <= set(LABELS)


def test_other_columns_and_their_order_stay(fill, site):
    _, rows = fill(f'fold,id,label,path,note\n1,x,?,{site}/test/T0.wav,"a, b"\n2,y,?,{site}/test/T2.wav,\n')
    assert list(rows[0]) == ["fold", "id", "label", "path", "note"]
    assert [(row["fold"], row["note"]) for row in rows] == [("1", "a, b"), ("2", "")]
    assert {row["label"] for row in rows} <= set(LABELS)
    _, below = fill("id,path,label\nx,./T0.wav,?\n", site / "test")  # a path below the named folder
    assert below[0]["label"] == rows[0]["label"]


def test_the_competitions_own_words_are_written(fill, site, tmp_path):
    train = tmp_path / "train.csv"
    train.write_text(
        "id,path,label\n" + "".join(f"{n},{n}.wav,{w}\n" for n, w in enumerate(["화남", "sad", "fear"]))
    )
    _, rows = fill("id,label\nT0,?\nT1,?\nT2,?\n", site / "test", labels=train)
    assert {row["label"] for row in rows} <= {"화남", "sad"}  # fear is none of the model's
    (tmp_path / "labels.csv").write_text("label,emotion\n0,anger\n1,happiness\n2,neutral\n3,sadness\n")
    _, rows = fill("id,label\nT0,0\nT1,0\n", site / "test")
    assert {row["label"] for row in rows} <= set("0123")
    train.write_text("label\nangry\nanger\n")
    with pytest.raises(ConfigurationError, match=r"'angry' and 'anger' for anger"):
        fill("id,label\nT0,?\n", site / "test", labels=train)
    train.write_text("label\nfear\n")
    with pytest.raises(ConfigurationError, match=r"the competition's labels are fear"):
        fill("id,label\nT0,?\n", site / "test", labels=train)


def test_a_clip_that_cannot_be_decoded_keeps_its_row_and_is_named(fill, site, tmp_path, capsys):
    (tmp_path / "T9.wav").write_bytes(b"no audio")
    bad, rows = fill("id,label\nT9,keep\nT0,?\n", tmp_path, site / "test")
    assert bad == 1
    assert "T9: undecodable" in capsys.readouterr().err
    assert rows[0] == {"id": "T9", "label": "keep"}
    assert rows[1]["label"] in LABELS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "id,label\nT0,?\nT7,?\n",
            r"the id 'T7' of .* has no clip in .*give the folder of the clips as PATH",
        ),
        ("id,answer\nT0,?\n", r"has the columns id, answer; expected id and label"),
        ("id,label\n", "has no rows"),
        ("id,label\n,?\n", "row 2 has no id"),
        ("id,label\nT0\n", "row 2 has no id, or more or fewer cells"),
    ],
)
def test_what_cannot_be_filled_is_named(fill, site, text, message):
    with pytest.raises(ConfigurationError, match=message):
        fill(text, site / "test")


def test_an_id_of_two_clips_is_refused(fill, site, tmp_path):
    (tmp_path / "T0.mp3").write_bytes(b"another")
    with pytest.raises(ConfigurationError, match=r"'T0' of .* is .*T0\.mp3 and .*T0\.wav"):
        fill("id,label\nT0,?\n", tmp_path, site / "test")


def test_a_cell_that_a_spreadsheet_takes_for_a_formula_stays_as_it_is(fill, site):
    """The labels must be under the ids that the sample has; docs/operations.md says how to open such a file."""
    formulas = ["=cmd|' C'!A0", "+1", "-1", "@SUM(1)"]
    text = "id,label,path,note\n" + "".join(f"{each},?,T0.wav,{each}\n" for each in formulas)
    bad, rows = fill(text, site / "test")
    assert bad == 0
    assert [row["id"] for row in rows] == [row["note"] for row in rows] == formulas
