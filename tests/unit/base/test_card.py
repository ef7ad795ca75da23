from pathlib import Path

from loramill.reports import write_json
from scripts.base.card import write_card
from scripts.base.history import HISTORY, Progress, append_line
from scripts.base.recipe import Recipe
from scripts.base.score import QUESTIONS, Worth
from scripts.base.screen import LIKE_A_ROW
from scripts.base.sources import SOURCES

WORTHS = {
    "one-minute base": Worth({"medical": 4.5, "all": 4.4}, ["啊"] * len(QUESTIONS)),
    "embedded base": Worth({"medical": 3.21, "all": 3.0}, [""] * len(QUESTIONS)),
}


def made_by_make(folder: Path) -> Path:
    """What `make` leaves, as far as the card reads it."""
    figures = {source.name: {"kept": 10, "characters": 1000, LIKE_A_ROW: 2} for source in SOURCES}
    shelves = {"reading": {"tokens": 4_900_000}, "talking": {"tokens": 2_800_000}}
    facts = {"sources": figures, "nearest": 0.423, "held_out": 7, "shelves": shelves}
    write_json(folder / "text" / "figures.json", facts)
    for step, share in ((10, 0.1), (20, 0.9)):
        append_line(folder / HISTORY, Progress(step, step * 1000, step * 60.0, share, "reading", 3.3, 100.0, 1.0))
    return folder


def test_the_card_names_every_source_its_licence_the_figures_and_the_limits(tmp_path: Path) -> None:
    place = tmp_path / "weights"
    place.mkdir()
    (place / "model.safetensors").write_bytes(b"x" * 9_000_000)
    card = write_card(made_by_make(tmp_path), place, Recipe(), WORTHS)
    text = card.read_text(encoding="utf-8")
    assert all(source.origin in text and source.licence in text for source in SOURCES)
    for said in (
        "not for advice",
        "4.5 million parameters",
        "9.0 MB",
        "0.42",
        "14 documents had",
        "| medical | 4.500 | 3.210 |",
        "4.9 million for reading, 2.8 million for talking",
    ):
        assert said in text
    assert "| together | | 70 | 7,000 | 14 |" in text
    assert "- embedded base: (nothing)" in text
    assert (place / "loss.svg").is_file()
    assert "{" not in text
