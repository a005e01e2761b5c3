"""bench/RESULTS.md keeps what other benches and other processors gave."""

from pathlib import Path

from bench.all import with_section

RESULTS = Path(__file__).parents[1] / "bench" / "RESULTS.md"


def test_a_section_of_another_processor_is_added_and_of_the_same_replaced() -> None:
    text = RESULTS.read_text("utf-8")
    more = with_section(text, "limit", "Some processor, family 1 model 2", "## limit\n\nelsewhere")
    assert all(line in more for line in text.splitlines())
    assert more.count("elsewhere") == 1
    again = with_section(more, "limit", "Some processor, family 1 model 2", "## limit\n\nonce more")
    assert "elsewhere" not in again
    assert again.replace("once more", "elsewhere") == more


def test_the_file_is_as_it_is_written() -> None:
    text = RESULTS.read_text("utf-8")
    start = text.index("<!-- limit on ")
    end = text.index("<!-- ", start + 1)
    heading, _, section = text[start:end].partition("\n")
    processor = heading.removeprefix("<!-- limit on ").removesuffix(" -->")
    assert with_section(text, "limit", processor, section) == text
    # what a machine is named in its section's facts is what the section is kept under
    assert f"- {processor}, " in section
