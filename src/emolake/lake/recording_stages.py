"""How many recordings of the lake came through each stage, with the names of some that fell out."""

from collections.abc import Sequence

from emolake.lake.transact import Lake
from emolake.messages import redacted
from emolake.schemas.days import DayRange
from emolake.schemas.funnel import EXAMPLES, FunnelStage
from emolake.sql import statement


def recording_stages(
    lake: Lake, days: DayRange, *, run_id: str | None = None, model: str | None = None
) -> list[FunnelStage]:
    """Return the stages from analysed to labelled, as the lake has them.

    Args:
        lake: the open lake.
        days: the days of the recordings.
        run_id: only what one run has done; everything when left out.
        model: whose labels count; any model's when left out.
    """
    parameters = {
        "first": days.first, "last": days.last, "run_id": run_id, "model": model, "examples": EXAMPLES
    }  # fmt: skip
    ((analysed, decoded, with_speech, with_label, *names),) = lake.rows(
        statement("recording_stages"), parameters
    )
    not_decoded, no_speech, no_label = map(_shown, names)
    return [
        FunnelStage("analysed", analysed),
        FunnelStage("decoded", decoded, analysed - decoded, not_decoded),
        FunnelStage("speech", with_speech, decoded - with_speech, no_speech),
        FunnelStage("labelled", with_label, with_speech - with_label, no_label),
    ]


def _shown(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(redacted, names))
