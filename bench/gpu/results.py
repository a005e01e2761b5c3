"""Writes what bench/gpu/run.sh measured into bench/RESULTS.md: a section of the card's own.

python -m bench.gpu.results gpu.json

A rehearsal, on a processor or of the tiny size, is no measurement of a GPU: it is printed, and never written there.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.all import with_section
from bench.common import table

RESULTS = Path(__file__).parents[1] / "RESULTS.md"
_TITLES = {
    "speed_hubert_large": "HuBERT-large", "speed_hubert_base": "HuBERT-base",
    "speed_whisper_base": "Whisper-base encoder",
    "speed_default": "the shipped default",
}  # fmt: skip
Case = Mapping[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("json", type=Path, help="what bench/gpu/run.sh wrote")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file that takes the section")
    arguments = parser.parse_args()
    found = json.loads(arguments.json.read_text("utf-8"))
    text = section(found)
    print(text)
    if found["rehearsal"]:
        sys.exit(
            f"{arguments.json} is a rehearsal, and no figure of a GPU: {arguments.results} stays as it is"
        )
    before = arguments.results.read_text("utf-8") if arguments.results.is_file() else ""
    arguments.results.write_text(with_section(before, "gpu", card(found), text), "utf-8")


def card(found: Case) -> str:
    """Return the name of the device that was measured."""
    facts = _facts(found)
    return str(facts.get("device") or facts.get("processor") or found["device"])


def section(found: Case) -> str:
    """Return the section of a card, in Markdown."""
    parts: Mapping[str, Any] = found["parts"]
    tiny = " Every network but the shipped ones is a tiny one." if found["size"] == "tiny" else ""
    head = f"A rehearsal without a GPU: no figure here is one of a GPU.{tiny}" if found["rehearsal"] else ""
    blocks = [
        "## How fast and how exact on a GPU?",
        f"`bench/gpu/run.sh --device {found['device']} --size {found['size']}`, on {card(found)}",
        head,
        _peaks(parts),
        *(_speeds(title, parts.get(name)) for name, title in _TITLES.items()),
        _table("What people would write, 10 s windows", parts.get("others"), _OTHERS),
        _table("A night from files to rows", parts.get("night"), _NIGHT),
        _table("Every family against the processor in fp32", parts.get("correctness"), _CORRECTNESS),
        _table("Without room", parts.get("trouble"), _TROUBLE),
        _unfinished(parts),
        _machine(found),
    ]
    return "\n\n".join(block for block in blocks if block)


_OTHERS = (("what", "what"), ("precision", "precision"), ("hours_per_hour", "hours per device-hour"),
           ("largest", "largest change of a probability"), ("labels_changed", "labels changed"))  # fmt: skip
_NIGHT = (("method", "segmentation"), ("hours", "hours of calls"), ("rows", "rows"), ("quarantined", "quarantined"),
          ("hours_per_hour", "hours per hour"), ("busy_share", "device busy"),
          ("night_over_bare", "night ÷ bare model"), ("cores", "cores"))  # fmt: skip
_CORRECTNESS = (("family", "family"), ("precision", "precision"), ("largest", "largest change"),
                ("labels_changed", "labels changed"), ("by_batch", "change by the batch"),
                ("by_replay", "by the graph"))  # fmt: skip
_TROUBLE = (("case", "case"), ("largest", "largest change"), ("batch_s", "seconds in a batch at last"))
_SPEED = (("precision", "precision"), ("rows", "windows in a batch"), ("forward", "forward"),
          ("hours_per_hour", "hours per device-hour"), ("of_peak", "of the peak product"),
          ("peak_memory_gb", "GB at most"), ("warm_up_s", "warm-up, s"), ("from_eager", "from eager"))  # fmt: skip


def _peaks(parts: Mapping[str, Any]) -> str:
    peaks = [case for case in parts.get("machine", {}).get("cases", []) if "peak" in case]
    rows = [(case["peak"], f"{case['flops'] / 1e12:.1f}") for case in peaks if "flops" in case]
    return "Fastest products of square matrices:\n\n" + table(("precision", "TFLOP/s"), rows) if rows else ""


def _speeds(title: str, part: Case | None) -> str:
    return _table(f"Forward passes of {title}, windows of 10 s", part, _SPEED)


def _table(title: str, part: Case | None, columns: Sequence[tuple[str, str]]) -> str:
    """Return a part's cases; what failed says why in place of its figures."""
    if part is None or not part["cases"]:
        return ""
    whole = [case for case in part["cases"] if "failed" not in case and "skipped" not in case]
    rows = [[_said(name, case.get(name)) for name, _ in columns] for case in whole]
    failed = [
        "- " + ", ".join(f"{name} {value}" for name, value in case.items())
        for case in part["cases"]
        if case not in whole
    ]
    shown = table([heading for _, heading in columns], rows) if rows else ""
    return "\n\n".join(each for each in (f"{title}:", shown, "\n".join(failed)) if each)


def _said(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in ("labels_changed", "busy_share", "of_peak"):
        return f"{value:.1%}"
    if name == "hours_per_hour":
        return f"{value:,.0f}"
    if name in ("largest", "by_batch", "from_eager"):
        return f"{value:.0e}"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _unfinished(parts: Mapping[str, Any]) -> str:
    ended = [f"- {name}: {part['ended']}" for name, part in parts.items() if part["ended"] != "whole"]
    return "Parts that are not whole:\n\n" + "\n".join(ended) if ended else ""


def _facts(found: Case) -> Case:
    cases = found["parts"].get("machine", {}).get("cases", [])
    return cases[0] if cases else {}


def _machine(found: Case) -> str:
    facts = {name: value for name, value in _facts(found).items() if value is not None}
    rounded = {name: f"{value:.0f}" if isinstance(value, float) else value for name, value in facts.items()}
    said = ", ".join(f"{name} {value}" for name, value in rounded.items())
    return f"- {said}; commit {found['commit']}"


if __name__ == "__main__":
    main()
