"""Put a training into the package as the shipped default, with the sections that its card has beyond a training's.

python tools/default_model.py --corpus runs/corpus --speakers runs/speakers-0 runs/speakers-1

`--corpus` is a training on all corpora with `--split corpus`, whose weights are shipped; `--speakers` are trainings of
the same recipe with `--split speaker`, one for each seed: they say what to expect of new speakers of these corpora.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import CORPORA, table
from bench.robustness import real_clips, share_kept
from emolake.models.registry import DEFAULT_MODEL, SHIPPED

_COPIED = ("config.json", "model.safetensors", "reliability.json", "results.json", "training_audio.json")
_ENCODER = "encoder"
_CLIPS = 2768


def main(arguments: Sequence[str]) -> int:
    """Copy the folder, measure, and write the card; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, required=True, help="the training with --split corpus")
    parser.add_argument("--speakers", type=Path, nargs="+", required=True, help="those with --split speaker")
    parser.add_argument("--clips", type=int, default=_CLIPS, help="clips that the changes are tried on")
    given = parser.parse_args(arguments)
    folder = Path(str(files(SHIPPED[DEFAULT_MODEL])))
    for name in _COPIED:
        shutil.copyfile(given.corpus / name, folder / name)
    for path in (given.corpus / _ENCODER).iterdir():
        shutil.copyfile(path, folder / _ENCODER / path.name)
    card = (given.corpus / "README.md").read_text("utf-8")
    sections = [_speakers(given.speakers), _changes(given.clips)]
    (folder / "README.md").write_text("\n".join([card, *sections]) + "\n", "utf-8")
    return 0


def _speakers(runs: Sequence[Path]) -> str:
    """Return the section on new speakers of the same corpora: mean and deviation over seeds."""
    results: list[dict[str, Any]] = [json.loads((run / "results.json").read_text("utf-8")) for run in runs]
    rows = []
    for corpus in results[0]["per_corpus"]:
        own = [each["per_corpus"][corpus] for each in results]
        rows.append(
            (
                corpus,
                str(own[0]["clips"]),
                _spread([each["uar"] for each in own]),
                _spread([each["of_own_labels"]["uar"] for each in own]),
                _spread([each["expected_calibration_error"] for each in own]),
            )
        )
    header = ("corpus", "clips", "UAR", "UAR over its own labels", "calibration error")
    first = results[0]
    return (
        "## New speakers of the same corpora\n\nThe same recipe, trained without the fifth of the speakers that tested "
        "it and another that calibrated it, so on fewer than the shipped weights: mean ± standard deviation over the "
        f"seeds {', '.join(str(each['seed']) for each in results)}, of which each draws other speakers.\n\n"
        f"{table(header, rows)}\n\n```\nemolake train --model {first['model']} --data DATA --split speaker --folds "
        f"{first['folds']} --seed SEED --out OUT\n```\n"
    )


def _changes(number: int) -> str:
    """Return the section on what a line adds to a recording."""
    clips, truth = real_clips(number)
    found = share_kept(DEFAULT_MODEL, clips, truth)
    rows = [(change, f"{own[1]:.3f}", f"{own[0]:.3f}") for change, own in found.items()]
    return (
        f"## What changes of a recording do to an answer\n\n{len(clips)} clips of {CORPORA.name}, which trained the "
        "weights: the share whose label stays is what counts here, and accuracy says nothing of new voices.\n\n"
        f"{table(('change', 'labels that stay', 'accuracy'), rows)}\n\n`python -m bench.robustness "
        "--size full` measures it.\n"
    )


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
