"""The shared taxonomy of emotions, and the labels of corpora and models that it knows."""

from emolake.errors import EmolakeError

EMOTIONS: tuple[str, ...] = (
    "anger",
    "boredom",
    "calm",
    "contempt",
    "disgust",
    "excitement",
    "fear",
    "frustration",
    "happiness",
    "neutral",
    "other",
    "sadness",
    "surprise",
)

# Spellings of RAVDESS, EmoDB, CREMA-D, IEMOCAP, TESS, SAVEE, MELD, JTES, MSP-Podcast, emotion2vec, the 15 emotions of
# Korean conversation corpora, and the sound events of YAMNet that stand for an emotion. What names a manner of speaking
# and no emotion of the taxonomy (kind, dry, tease, …) is "other" by decision, not by default.
_SPELLINGS: dict[str, tuple[str, ...]] = {
    "anger": ("ang", "angry", "anger", "wut", "ärger", "shout"),
    "boredom": ("bor", "bored", "boredom", "langeweile"),
    "calm": ("cal", "calm"),
    "contempt": ("con", "contempt", "contemptuous"),
    "disgust": ("dis", "disgust", "disgusted", "ekel"),
    "excitement": ("exc", "excited", "excitement"),
    "fear": ("fea", "fear", "fearful", "afraid", "anxious", "angst", "screaming"),
    "frustration": ("fru", "frustrated", "frustration"),
    "happiness": ("hap", "happy", "happiness", "joy", "joyful", "freude", "laughter"),
    "neutral": ("neu", "neutral", "speech"),
    "other": (
        "oth",
        "other",
        "<unk>",
        "doubt",
        "dry",
        "hesitate",
        "hurry",
        "kind",
        "serious",
        "shy",
        "tease",
    ),
    "sadness": ("sad", "sadness", "trauer", "crying, sobbing"),
    "surprise": ("sur", "surprise", "surprised", "ps", "pleasant_surprise"),
}
_TAXONOMY = {spelling: emotion for emotion, spellings in _SPELLINGS.items() for spelling in spellings}


class UnknownLabelError(EmolakeError):
    """A label that the taxonomy does not know."""


def canonical(label: str) -> str:
    """Return the shared emotion of a corpus' or a model's label.

    Raises:
        UnknownLabelError: the taxonomy has no such label; it is never mapped to "other" by guess.

    >>> canonical("Hap")
    'happiness'
    """
    try:
        return _TAXONOMY[label.strip().casefold()]
    except KeyError:
        raise UnknownLabelError(
            f"the label {label!r} is not in the taxonomy, which knows {', '.join(sorted(_TAXONOMY))}; "
            "add it in schemas/labels.py"
        ) from None
