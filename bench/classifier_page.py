"""The page that `bench.classifiers` writes: one section for each suite and size, and the published figures."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.classifier_cases import CLIPS, PUBLISHED, Case
from bench.common import machine
from emolake.evaluation.markdown_report import with_interval
from emolake.messages import counted
from emolake.output.table import markdown_table

SPLITS = ("speaker", "random")
_SECTION = re.compile(r"<!-- (\w+ \w+) -->\n(.*?)(?=\n<!-- |\Z)", re.DOTALL)
_ORDER = (
    "experiments full",
    "experiments short",
    "experiments tiny",
    "small full",
    "small short",
    "small tiny",
)
_NAMES = {"ravdess": "RAVDESS", "emodb": "EmoDB", "nemo": "nEMO"}
_TITLES = {"experiments": "The four experiments of the field on real weights", "small": "Small classifiers"}
_HEAD = """\
# Classifiers on new voices

How well each classifier recognises the emotions of speakers who did not train it, corpus by corpus. Every clip is
predicted once by a classifier whose training data did not include it, nor, split by speaker, its speaker: that is the
figure to believe. The random split beside it is a warning: it lets voices leak from training into the test, and many
published figures are made that way. UAR is the unweighted average recall; in brackets are 95 % intervals in which
speakers are independent.
"""
_PUBLISHED = """\
## Published figures

Of the same emotions, but on the whole corpora, of which these data are a part (and EmoDB's clips here were cut or
padded to two seconds), so they can be read beside those above, and not subtracted from them. EmoBox's folds of RAVDESS
keep actors apart and are used above, with the 16 of its 24 actors that are here. Its folds of EmoDB share speakers, as
a random split does, so its figures for EmoDB belong beside the random column. It has no nEMO.
"""
_PART = """\
**The size is {size}**: at most {clips} clips of each corpus{fewer}, spread evenly over speakers and emotions, and few
epochs. It shows that the experiments run on real weights and what a random split makes of them, with intervals as wide
as they look; how good these classifiers get is for `--size full` to say.
"""


@dataclass(frozen=True)
class Finished:
    """A finished training: its results.json, and the processor time it took."""

    results: Mapping[str, Any]
    cpu_s: float


def section(
    suite: str,
    size: str,
    cases: Sequence[Case],
    finished: Mapping[tuple[str, str, str], Finished],
    missing: Sequence[str],
    command: str,
) -> str:
    """Return the section of a suite and a size; `finished` is by case, corpus and split, `missing` is in words."""
    corpora = list(dict.fromkeys(corpus for _, corpus, _ in finished))
    parts = [f"## {_TITLES[suite]}, --size {size}", f"`{command}`"]
    if size in CLIPS:
        fewer = "".join(
            f", {case.clips[size]} of them for {case.name}" for case in cases if size in case.clips
        )
        parts.append(_PART.format(size=size, clips=CLIPS[size], fewer=fewer).strip())
    parts += [_of_corpus(cases, corpus, finished) for corpus in corpora]
    if missing:
        parts.append(f"Not finished yet, and the same command goes on with: {'; '.join(missing)}.")
    own = [case for case in cases if any(name == case.name for name, _, _ in finished)]
    options = "; ".join(f"{case.name}: {shown}" for case in own if (shown := _options(case, size)))
    if options:
        parts.append(f"Options that are not the defaults of `emolake train`: {options}.")
    minutes = sum(each.cpu_s for each in finished.values()) / 60
    parts.append(f"- {minutes:.1f} minutes of processor time, features and transcripts included\n{machine()}")
    return "\n\n".join(parts)


def write_page(page: Path, key: str, text: str) -> None:
    """Write a section into the page, and keep the others that it has."""
    known = dict(_SECTION.findall(page.read_text("utf-8"))) if page.is_file() else {}
    known[key] = text
    rows = [[_NAMES[corpus], *rest] for corpus, *rest in PUBLISHED]
    published = markdown_table(["corpus", "classifier", "protocol", "figure", "source"], rows)
    known["published figures"] = f"{_PUBLISHED}\n{published}"
    ordered = [name for name in (*_ORDER, "published figures") if name in known]
    page.parent.mkdir(parents=True, exist_ok=True)
    sections = [f"<!-- {name} -->\n{known[name].strip()}\n" for name in ordered]
    page.write_text("\n".join([_HEAD, *sections]), "utf-8")


def _of_corpus(cases: Sequence[Case], corpus: str, finished: Mapping[tuple[str, str, str], Finished]) -> str:
    own = {key: each.results for key, each in finished.items() if key[1] == corpus}
    first = next(iter(own.values()))
    largest = max(own.values(), key=lambda each: int(each["clips"]))
    protocol = counted(first["folds"], "fold")
    if any("groups" in each for each in own.values()):
        protocol += ", EmoBox's groups of actors as far as they are here"
    title = (
        f"### {_NAMES.get(corpus, corpus)}: {counted(largest['clips'], 'clip')}, "
        f"{counted(len(largest['labels']), 'emotion')}, {counted(len(largest['per_speaker']), 'speaker')}; {protocol}"
    )
    header = [
        "classifier", "clips", "UAR, new speakers", "accuracy, new speakers", "UAR, random split",
        "accuracy, random split", "UAR that the random split adds",
    ]  # fmt: skip
    rows = [row for case in cases if (row := _row(case, corpus, own))]
    chance = 1 / len(largest["labels"])
    return f"{title}\n\n{markdown_table(header, rows)}\n\nChance is a UAR of {chance:.3f}."


def _row(case: Case, corpus: str, own: Mapping[tuple[str, str, str], Mapping[str, Any]]) -> list[str] | None:
    """Return the row of a case, with "-" for a split that is not finished; None where neither is."""
    found = [own.get((case.name, corpus, split)) for split in SPLITS]
    known = [each for each in found if each]
    if not known:
        return None
    by_speaker, at_random = found
    figures = [
        with_interval(each, figure) if each else "-" for each in found for figure in ("uar", "accuracy")
    ]
    added = f"{at_random['uar'] - by_speaker['uar']:+.3f}" if by_speaker and at_random else "-"
    return [case.name, str(known[0]["clips"]), *figures, added]


def _options(case: Case, size: str) -> str:
    """Return the options of a case as they are typed, with those of a corpus beside its name."""
    general = {**case.options, **case.by_size.get(size, {}), **case.weights}
    own = [
        f"{name} {json.dumps(value)} ({corpus})"
        for corpus, of_corpus in case.by_corpus.items()
        for name, value in of_corpus.items()
    ]
    model = [] if case.model in case.name.lower().replace("-", "_") else [f"model {case.model}"]
    return ", ".join([*model, *(f"{name} {json.dumps(value)}" for name, value in general.items()), *own])
