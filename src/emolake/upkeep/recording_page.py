"""`emolake report --recording`: one recording from the lake and from its source, as one page."""

from pathlib import Path

from emolake.lake.connect import open_lake
from emolake.output.notices import complain
from emolake.report.recording import recording_asked, write_recording_page
from emolake.report.wording import Language, Words
from emolake.settings import Settings
from emolake.upkeep.recording_sound import recording_sound


def report_recording(
    settings: Settings,
    asked: str,
    *,
    out: Path,
    language: Language = Language.en,
    embed_audio: bool = False,
) -> Path:
    """Write the page of one recording, and return its path; where it has no sound, say so on standard error.

    Args:
        settings: the lake, the source, and how speech is found.
        asked: the recording's URI, its end from a /, or its recording_id.
        out: file to write.
        language: that the page opens in.
        embed_audio: put the recording's sound into the page.

    Raises:
        NoRecordingError: the lake holds no such recording, or several.
    """
    with open_lake(settings.warehouse, read_only=True) as lake:
        recording = recording_asked(lake, asked)
    sound = recording_sound(settings, recording, embed=embed_audio)
    if sound.missing:
        why, values = sound.missing
        complain(f"the page has no sound: {Words(Language.en)(why, **values)}")
    is_mix = settings.segmentation.channels == "mix" and (recording.facts["channels"] or 1) > 1
    return write_recording_page(recording, sound, is_mix=is_mix, out=out, language=language)
