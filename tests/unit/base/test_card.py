from pathlib import Path

from loramill.reports import write_json
from scripts.base.card import write_card
from scripts.base.history import HISTORY, Progress, append_line
from scripts.base.recipe import Recipe
from scripts.base.screen import LIKE_A_ROW
from scripts.base.sources import SOURCES


def test_the_card_names_every_source_its_licence_the_figures_and_the_limits(tmp_path: Path) -> None:
    figures = {source.name: {"kept": 10, "characters": 1000, LIKE_A_ROW: 2} for source in SOURCES}
    write_json(tmp_path / "text" / "figures.json", {"sources": figures, "nearest": 0.423, "held_out": 7})
    rows = [{"question": "问？", "one-minute base": "啊", "this base": ""}]
    loss = {"one-minute base": {"medical": 4.5, "all": 4.4}, "this base": {"medical": 3.21, "all": 3.0}}
    write_json(tmp_path / "comparison.json", {"loss": loss, "answers": rows})
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model.safetensors").write_bytes(b"x" * 9_000_000)
    for step, share in ((10, 0.1), (20, 0.9)):
        append_line(tmp_path / HISTORY, Progress(step, step * 1000, step * 60.0, share, "reading", 3.3, 100.0, 1.0))
    card = write_card(tmp_path, tmp_path / "docs" / "base.md", Recipe())
    text = card.read_text(encoding="utf-8")
    assert all(source.origin in text and source.licence in text for source in SOURCES)
    for said in (
        "not for advice",
        "4.5 million parameters",
        "9.0 MB",
        "0.42",
        "14 documents had",
        "| medical | 4.500 | 3.210 |",
    ):
        assert said in text
    assert "| together | | 70 | 7,000 | 14 |" in text
    assert "- this base: (nothing)" in text
    assert (card.parent / "base-loss.svg").is_file()
    assert "{" not in text
