"""The model card of a trained folder, with every figure taken from the training's results."""

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emolake.audio.feature_options import ConditioningOptions
from emolake.evaluation.dataset import Clip
from emolake.evaluation.markdown_report import with_interval
from emolake.messages import counted, printable
from emolake.output.table import markdown_table


@dataclass(frozen=True)
class _PublishedCorpus:
    """A published corpus that the card can name."""

    title: str
    terms: str
    non_commercial: bool


_CORPORA = {
    "ravdess": _PublishedCorpus(
        "RAVDESS, Livingstone & Russo 2018, doi 10.1371/journal.pone.0196391 (English)",
        "CC BY-NC-SA 4.0",
        True,
    ),
    "emodb": _PublishedCorpus("EmoDB, Burkhardt et al. 2005 (German)", "free for research", True),
    "nemo": _PublishedCorpus("nEMO, Christop 2024, LREC-COLING (Polish)", "CC BY-NC-SA 4.0", True),
}
_NON_COMMERCIAL = "CC BY-NC-SA 4.0 (non-commercial use only, after the corpora)"
_UNKNOWN = "that of the training data"


def licence_of(corpora: Iterable[str]) -> str:
    """Return the licence of weights trained on these corpora: non-commercial as soon as one of them is."""
    return _NON_COMMERCIAL if any(c in _CORPORA and _CORPORA[c].non_commercial for c in corpora) else _UNKNOWN


def what_is_removed(options: ConditioningOptions) -> Iterator[str]:
    """Yield sentences on what of a recording a network does not see."""
    if options.high_pass_hz is not None:
        yield (
            f"What is below {options.high_pass_hz:g} Hz is removed from the waveform first, so that a DC offset"
            f"{' and mains hum of 50 or 60 Hz do' if options.high_pass_hz >= 80 else ' does'} not change an answer."
        )
    if options.level_dbfs is not None:
        yield "Every clip is then brought to one level."


def model_card(results: dict[str, Any], what: str, licence: str, clips: Sequence[Clip]) -> str:
    """Return the card as Markdown, from the content of `results.json` and the sentences `what` the model is."""
    sections = [
        _summary(results, what, licence),
        _data(results, clips),
        _figures(results),
        *(
            _confusion(corpus, figures, results["labels"])
            for corpus, figures in results["per_corpus"].items()
        ),
        _speakers(results),
        _calibration(results),
        _coverage(results),
        _limits(results, clips),
        _reproduction(results),
    ]
    return "\n\n".join(sections) + "\n"


def _summary(results: dict[str, Any], what: str, licence: str) -> str:
    return "\n".join(
        [
            f"# {results['model']}: emotion of acted speech",
            "",
            what,
            "",
            f"- Labels: {', '.join(results['labels'])}",
            "- Input: mono, 16000 Hz, 400 samples or more, made for utterances of 1 to 10 s",
            f"- Licence of the weights: {licence}",
            "- Written by the training command; no figure here is typed by hand",
        ]
    )


def _data(results: dict[str, Any], clips: Sequence[Clip]) -> str:
    rows = []
    for corpus in sorted({clip.corpus for clip in clips}):
        own = [clip for clip in clips if clip.corpus == corpus]
        known = _CORPORA.get(corpus)
        speakers = {clip.speaker for clip in own if clip.speaker}
        counts = Counter(clip.emotion for clip in own)
        rows.append(
            [
                known.title if known else corpus,
                known.terms if known else "not known to the program",
                str(len(own)),
                str(len(speakers)) if speakers else "not named",
                ", ".join(f"{emotion} {count}" for emotion, count in sorted(counts.items())),
            ]
        )
    table = markdown_table(["corpus", "licence", "clips", "speakers", "clips of each emotion"], rows)
    left_out = ", ".join(printable(skip["path"]) for skip in results["skipped"]) or "none"
    return f"## Data\n\n{table}\n\nLeft out because they are too short or could not be decoded: {left_out}."


def _figures(results: dict[str, Any]) -> str:
    folds = results["folds"]
    how = (
        f"{folds}-fold cross-validation"
        if folds > 1
        else "one split into training, validation and test clips"
    )
    split = {
        "speaker": "No figure is of a speaker in the training data of the networks that predicted: "
        f"{how}, split by speaker.",
        "corpus": "No figure is of a corpus in the training data of the networks that predicted: each was left out "
        "whole, with its language, its speakers and its microphones. This is what to expect of new data.",
        "random": f"**The clips were split at random ({how}), so the speakers of the test clips are in the training "
        "data too. Expect clearly worse figures on new voices; train with `--split speaker` to measure them.**",
    }[results["split"]]
    weights = (
        "The weights in this folder are of the same recipe, trained on all clips, so the figures are an estimate for "
        "them."
        if folds > 1
        else "The weights in this folder are those that predicted; the validation and test clips did not train them."
    )
    members = results["members"]
    rows = []
    for corpus, figures in results["per_corpus"].items():
        own = figures["of_own_labels"]
        single = np.array(figures["single_network_uar"])
        row = [
            corpus,
            str(figures["clips"]),
            str(len(figures["recall"])),
            f"{1 / len(figures['recall']):.3f}",
            f"**{with_interval(figures, 'uar')}**",
            with_interval(figures, "accuracy"),
            f"{figures['expected_calibration_error']:.3f}",
            f"{own['uar']:.3f}",
            f"{own['expected_calibration_error']:.3f}",
        ]
        if members > 1:
            row.append(f"{single.mean():.3f} ± {single.std(ddof=1):.3f}")
        rows.append(row)
    header = ["corpus", "clips", "classes", "chance", "UAR", "accuracy", "calibration error"]
    header += ["UAR over its own labels", "calibration error over these"]
    if members > 1:
        header.append(f"UAR of a single one of {members} networks, mean ± sd over seeds")
    return (
        f"## Figures\n\n{split} The prediction is the most likely of all {len(results['labels'])} labels, also of "
        "those that the corpus does not have, and once more of those that it has, as `[models.NAME] classes` restricts "
        f"a model. UAR is the unweighted average recall, in brackets its 95 % interval over speakers. {weights}\n\n"
        f"{markdown_table(header, rows)}"
    )


def _coverage(results: dict[str, Any]) -> str:
    rows = [
        [f"{point['threshold']:.2f}", f"{point['coverage']:.2f}", f"{point['accuracy']:.2f}"]
        for point in results["coverage"]
        if point["coverage"] > 0
    ]
    table = markdown_table(["best probability at least", "share of clips", "of these right"], rows)
    return (
        "## Coverage and accuracy\n\nOf the same predictions, each corpus counting alike. What is below "
        "`[inference] abstain_below` is stored as uncertain; this model recommends "
        f"**{results['abstain_below']:.2f}**, the lowest value above which a label is rather right than wrong, and it "
        f"is in force unless another one is given.\n\n{table}"
    )


def _confusion(corpus: str, figures: dict[str, Any], labels: Sequence[str]) -> str:
    rows = []
    for label, counts in zip(labels, figures["confusion"], strict=True):
        if sum(counts):
            rows.append(
                [
                    label,
                    *(str(count) if count else "·" for count in counts),
                    f"{figures['recall'][label]:.2f}",
                ]
            )
    table = markdown_table(["truth \\ prediction", *labels, "recall"], rows)
    about = "Rows are the truth, columns the predictions of the averaged networks."
    return f"## Confusion on {printable(corpus)}\n\n{about}\n\n{table}"


def _speakers(results: dict[str, Any]) -> str:
    figures = results["per_speaker"]
    values = np.array([own["uar"] for own in figures.values()])
    rows = [
        [name, str(own["clips"]), f"{own['uar']:.3f}", f"{own['accuracy']:.3f}"]
        for name, own in figures.items()
    ]
    spread = f"UAR from {values.min():.3f} to {values.max():.3f}, median {np.median(values):.3f}."
    return f"## Speakers\n\n{spread}\n\n{markdown_table(['speaker', 'clips', 'UAR', 'accuracy'], rows)}"


def _calibration(results: dict[str, Any]) -> str:
    error = results["calibration_error"]
    left_out = "corpora" if results["split"] == "corpus" else "folds"
    fitted = (
        f"fitted on the predictions for the {left_out} that were left out, on which the errors are measured too"
        if results["folds"] > 1
        else "fitted on the validation clips; the errors are of the test clips"
    )
    fitted = results.get("temperature_fitted_on", fitted)
    return (
        f"## Calibration\n\nThe logits are divided by {results['temperature']:.3f}, {fitted}. Expected calibration "
        f"error (15 bins): {error['before']:.3f} before, {error['after']:.3f} after."
    )


def _limits(results: dict[str, Any], clips: Sequence[Clip]) -> str:
    speakers = len({clip.speaker for clip in clips if clip.speaker})
    voices = counted(speakers, "speaker") if speakers else "speakers that the data do not name"
    hardest = sorted(results["recall"].items(), key=lambda pair: pair[1])[:3]
    weak = ", ".join(f"{label} ({value:.2f})" for label, value in hardest)
    return "\n".join(
        [
            "## Limits",
            "",
            f"- Trained on {counted(len(clips), 'clip')} of {voices}. Speech of another kind (spontaneous instead of "
            "acted, other languages, children, telephone, noise) is outside of what the figures cover.",
            "- Acted speech exaggerates. In calls most speech is neutral and emotions are faint and mixed, so expect "
            "fewer labels that are right than in any table here, look at shares of many calls and at what changes, and "
            "listen before acting on one call.",
            "- Default recipes were chosen by cross-validation on speakers of RAVDESS and EmoDB, so figures on these "
            "corpora may flatter a little.",
            f"- Weakest recalls: {weak}.",
            "- A label is how a voice sounds to the networks, not what a person feels. Not for decisions about people; "
            "inferring emotions of employees or pupils is banned in the EU.",
            "- Who needs weights for commercial use trains them on data that allow it, such as CREMA-D (Open Database "
            "License), listed in a CSV file with columns file_path, emotion, speaker, corpus, by the command below.",
        ]
    )


def _reproduction(results: dict[str, Any]) -> str:
    options = "".join(
        f" --set {shlex.quote(f'{name}={json.dumps(value)}')}" for name, value in results["options"].items()
    )
    folds = "" if results["split"] == "corpus" else f" --folds {results['folds']}"
    return (
        "## Reproduction\n\n```\n"
        f"emolake train --model {results['model']} --data DATA --split {results['split']} --seed {results['seed']}"
        f"{folds}{options} --out OUT\n```\n\n"
        f"with the data of sha256 `{results['data_sha256']}` and torch {results['torch']} gives weights of sha256 "
        f"`{results['weights_sha256']}` on the same kind of processor."
    )
