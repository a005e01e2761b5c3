"""The shared taxonomy of emotions, and the labels of corpora and models that it knows."""

import unicodedata

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
# Korean conversation corpora, the words of Korean and Japanese corpora, and the sound events of YAMNet that stand for
# an emotion. What names a manner of speaking and no emotion of the taxonomy (kind, dry, tease, …) is "other" by
# decision, not by default.
_SPELLINGS: dict[str, tuple[str, ...]] = {
    "anger": ("ang", "angry", "anger", "wut", "ärger", "shout", "분노", "화남", "怒り", "怒"),
    "boredom": ("bor", "bored", "boredom", "langeweile", "지루함", "退屈"),
    "calm": ("cal", "calm", "평온", "차분함", "平静", "穏やか", "落ち着き"),
    "contempt": ("con", "contempt", "contemptuous", "경멸", "軽蔑"),
    "disgust": ("dis", "disgust", "disgusted", "ekel", "혐오", "역겨움", "嫌悪"),
    "excitement": ("exc", "excited", "excitement", "흥분", "興奮"),
    "fear": (
        *("fea", "fear", "fearful", "afraid", "anxious", "angst", "screaming"),
        *("공포", "두려움", "불안", "恐怖", "恐れ", "不安"),
    ),
    "frustration": ("fru", "frustrated", "frustration", "좌절", "苛立ち"),
    "happiness": (
        *("hap", "happy", "happiness", "joy", "joyful", "freude", "laughter"),
        *("기쁨", "행복", "즐거움", "喜び", "喜", "幸せ", "幸福", "楽しい", "楽"),
    ),
    "neutral": ("neu", "neutral", "speech", "중립", "무감정", "平常", "中立", "ニュートラル"),
    "other": (
        *("oth", "other", "<unk>", "doubt", "dry", "hesitate", "hurry", "kind", "serious", "shy", "tease"),
        *("기타", "その他"),
    ),
    "sadness": ("sad", "sadness", "trauer", "crying, sobbing", "슬픔", "悲しみ", "悲", "哀"),
    "surprise": ("sur", "surprise", "surprised", "ps", "pleasant_surprise", "놀람", "驚き", "驚"),
}
_TAXONOMY = {spelling: emotion for emotion, spellings in _SPELLINGS.items() for spelling in spellings}


class UnknownLabelError(EmolakeError):
    """A label that the taxonomy does not know."""


def canonical(label: str) -> str:
    """Return the shared emotion of a corpus' or a model's label, in whatever case and form of Unicode.

    Raises:
        UnknownLabelError: the taxonomy has no such label; it is never mapped to "other" by guess.

    >>> canonical("Hap")
    'happiness'
    """
    try:
        # Names of files and folders may come with their letters taken apart, as macOS writes them.
        return _TAXONOMY[unicodedata.normalize("NFKC", label).strip().casefold()]
    except KeyError:
        raise UnknownLabelError(
            f"the label {label!r} is not in the taxonomy, which knows {', '.join(sorted(_TAXONOMY))}; "
            "add it in schemas/labels.py"
        ) from None
