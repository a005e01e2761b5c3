"""What `bench.classifiers` trains: its cases, how much of a corpus each size takes, and whose folds it follows."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from pydantic import JsonValue

from emolake.evaluation.dataset import Clip

SIZES = ("tiny", "short", "full")
CLIPS = {"tiny": 12, "short": 144}
"""Clips of each corpus by size; a size without an entry takes all."""
EMOTIONS = {"tiny": 2}
"""Emotions of each corpus by size; a size without an entry takes all."""
FOLDS = 4
"""Of a corpus without a published protocol."""

FINETUNED = "whisper_finetune"
"""The trainer of the experiment "fine-tuned Whisper"."""


@dataclass(frozen=True)
class Case:
    """A classifier: its name in the table, what `emolake train` calls it, and its options."""

    name: str
    model: str
    options: dict[str, JsonValue] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    """Options that name pretrained weights of `bench.pretrained`."""
    by_corpus: dict[str, dict[str, JsonValue]] = field(default_factory=dict)
    """Options of one corpus."""
    by_size: dict[str, dict[str, JsonValue]] = field(default_factory=dict)
    """Options of one size, in place of the general ones."""
    clips: dict[str, int] = field(default_factory=dict)
    """Clips of each corpus by size, where it takes fewer than the others."""

    @property
    def folder(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower())

    def options_of(self, size: str, corpus: str) -> dict[str, JsonValue]:
        """Return the options but for the pretrained weights."""
        return {**self.options, **self.by_corpus.get(corpus, {}), **self.by_size.get(size, {})}

    def clips_of(self, size: str) -> int | None:
        """Return how many clips of a corpus it takes; None: all."""
        return self.clips.get(size, CLIPS.get(size))


# Without the conditioning of newer recipes, as its figures were measured.
MFCC_CNN = Case(
    "MFCC-CNN", "mfcc_cnn", {"members": 1, "loop.epochs": 60, "features.conditioning": {}},
    by_size={"tiny": {"loop.epochs": 1}, "short": {"loop.epochs": 30}},
)  # fmt: skip
EXPERIMENTS = (
    MFCC_CNN,
    Case(
        "Frozen Whisper head", "whisper_head", {"layers": 3, "pooling": "mean_std"},
        weights={"encoder": "whisper-base-encoder"},
        by_size={"tiny": {"loop.epochs": 2, "augment.copies": 0, "layers": 1}, "short": {"augment.copies": 1}},
    ),
    Case(
        "Fine-tuned Whisper", FINETUNED,
        weights={"encoder": "whisper-base-encoder"},
        by_size={"tiny": {"loop.epochs": 1, "layers": 1}},
    ),
    Case(
        "Multimodal", "multimodal",
        weights={"speech_to_text": "whisper-base", "text_encoder": "all-MiniLM-L6-v2"},
        by_corpus={"ravdess": {"language": "en"}, "emodb": {"language": "de"}, "nemo": {"language": "pl"}},
        by_size={
            "tiny": {"loop.epochs": 2, "augment.copies": 0, "max_new_tokens": 4},
            "short": {"augment.copies": 0},
        },
        clips={"short": 48},
    ),
)  # fmt: skip
SMALL = (
    MFCC_CNN,
    Case("MFCC-MLP", "mfcc_mlp"),
    Case("librosa + SVC", "classical", {"classifier": "svc"}),
    Case("librosa + random forest", "classical", {"classifier": "random_forest"}),
    Case("librosa + logistic regression", "classical", {"classifier": "logistic_regression"}),
    Case("eGeMAPS + SVC", "classical", {"classifier": "svc", "features": {"kind": "egemaps"}}),
)
SUITES = {"experiments": EXPERIMENTS, "small": SMALL}

EMOBOX_RAVDESS = (
    (1, 11, 20, 21), (4, 10, 12, 14), (8, 9, 19, 23), (3, 5, 7, 24), (2, 15, 16, 18), (6, 13, 17, 22),
)  # fmt: skip
"""The actors whom each of EmoBox's six folds of RAVDESS tests (data/ravdess/fold_N of its repository)."""


def groups_of(corpus: str, speakers: Sequence[str]) -> list[list[str]] | None:
    """Return the speakers of a corpus whom each fold of its published protocol tests; None where there is none.

    A speaker of RAVDESS is known by the number that the name ends with; actors who are not there are left out.

    >>> groups_of("ravdess", ["ravdess-04", "ravdess-01", "ravdess-11"])
    [['ravdess-01', 'ravdess-11'], ['ravdess-04']]
    """
    numbers = {name: int(found[0]) for name in speakers if (found := re.search(r"\d+$", name))}
    known = {actor for group in EMOBOX_RAVDESS for actor in group}
    if corpus != "ravdess" or not speakers or not all(numbers.get(name) in known for name in speakers):
        return None
    groups = [sorted(name for name in numbers if numbers[name] in group) for group in EMOBOX_RAVDESS]
    present = [group for group in groups if group]
    return present if len(present) > 1 else None


def spread(clips: Sequence[Clip], most: int | None, emotions: int | None = None) -> list[Clip]:
    """Return at most so many clips, as evenly over speakers and emotions as there are clips; None: all.

    The choice hangs on names alone, and a smaller one is a part of each larger one. `emotions` keeps the first of them.
    """
    kept = sorted({clip.emotion for clip in clips})[:emotions]
    clips = [clip for clip in clips if clip.emotion in kept]
    cells: dict[tuple[str | None, str], list[Clip]] = defaultdict(list)
    for clip in sorted(clips, key=_drawn):
        cells[clip.speaker, clip.emotion].append(clip)
    ranked = [(rank, _drawn(clip), clip) for cell in cells.values() for rank, clip in enumerate(cell)]
    return [clip for _, _, clip in sorted(ranked, key=lambda each: each[:2])][:most]


def _drawn(clip: Clip) -> str:
    """Return a number drawn for a clip, always the same."""
    return sha256(f"{clip.corpus} {clip.name}".encode()).hexdigest()


# (corpus, classifier, protocol, figure, source); all of the whole corpus, of which the data here are a part.
_EMOBOX = "Ma et al. 2024, EmoBox, Interspeech, arXiv 2406.07162"
_EMOBOX_RAVDESS = "EmoBox: six folds of four actors"
_EMOBOX_EMODB = "EmoBox: folds that share speakers"
_GJORESKI = "Gjoreski, Gjoreski & Kulakov 2014, Machine learning approach for emotion recognition in speech"
PUBLISHED = (
    ("ravdess", "Whisper large-v3 (encoder, 640 M parameters), frozen", _EMOBOX_RAVDESS, "UAR 0.753", _EMOBOX),
    ("ravdess", "WavLM large (317 M), frozen", _EMOBOX_RAVDESS, "UAR 0.720", _EMOBOX),
    ("ravdess", "HuBERT large (317 M), frozen", _EMOBOX_RAVDESS, "UAR 0.700", _EMOBOX),
    ("ravdess", "HuBERT base (95 M), frozen", _EMOBOX_RAVDESS, "UAR 0.654", _EMOBOX),
    (
        "ravdess", "ResLSTM-SA (46.8 k parameters)", "five folds of actors", "UAR 0.623 ± 0.012, at most 0.652",
        "Krasnoproshin & Vashkevich 2026, arXiv 2606.03359",
    ),
    (
        "ravdess", "wav2vec 2.0 base (95 M), fine-tuned", "three actors held out", "accuracy 0.683",
        "model card of sbh013/wav2vec2-ser-ravdess-optimized",
    ),
    (
        "ravdess", "XLSR wav2vec 2.0 (317 M), fine-tuned", "5 folds by actor", "accuracy 0.818",
        "Luna-Jiménez et al. 2022, Applied Sciences 12(1), 327, doi 10.3390/app12010327",
    ),
    ("emodb", "HuBERT base (95 M), frozen", _EMOBOX_EMODB, "UAR 0.877", _EMOBOX),
    ("emodb", "wav2vec 2.0 base (95 M), frozen", _EMOBOX_EMODB, "UAR 0.821", _EMOBOX),
    ("emodb", "SVM on 300 features of openSMILE", "leave one speaker out", "accuracy 0.73, tuned 0.77", _GJORESKI),
    ("emodb", "the same", "10 folds at random", "accuracy 0.86", _GJORESKI),
    (
        "nemo", "random forest on MFCC", "its authors' split, not known to keep speakers apart", "accuracy 0.840",
        "Christop 2024, nEMO, LREC-COLING, arXiv 2404.06292",
    ),
)  # fmt: skip
