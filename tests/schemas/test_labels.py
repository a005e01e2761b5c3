"""The taxonomy maps the corpora's labels, and refuses what it does not know."""

import pytest

from emolake.schemas.labels import EMOTIONS, UnknownLabelError, canonical


@pytest.mark.parametrize(
    ("label", "emotion"),
    [
        ("neu", "neutral"),
        ("hap", "happiness"),
        ("ang", "anger"),
        ("sad", "sadness"),
        ("exc", "excitement"),
        ("fru", "frustration"),
        ("joy", "happiness"),
        ("Fearful", "fear"),
        (" surprised ", "surprise"),
        ("분노", "anger"),
        ("\u1107\u116e\u11ab\u1102\u1169", "anger"),  # the same word, its letters taken apart
        ("悲しみ", "sadness"),
        ("恐怖", "fear"),
    ],
)
def test_common_spellings(label: str, emotion: str) -> None:
    assert canonical(label) == emotion


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_every_emotion_is_its_own_label(emotion: str) -> None:
    assert canonical(emotion) == emotion


def test_an_unknown_label_names_itself_and_the_remedy() -> None:
    with pytest.raises(UnknownLabelError, match=r"'melancholy'.*schemas/labels\.py"):
        canonical("melancholy")
