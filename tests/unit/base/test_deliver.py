import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from loramill.config import Base
from loramill.errors import BaseModelError
from loramill.pack.base import base_digest, find_base
from scripts.base import deliver as room
from scripts.base.deliver import FILES, check_base, deliver, pin
from scripts.base.export import export
from scripts.base.train import start
from tests.unit.base.conftest import TINY
from tests.unit.base.test_card import WORTHS, made_by_make


@pytest.fixture
def made(text: Path, tmp_path: Path) -> Path:
    """What `make` leaves at its end."""
    folder = made_by_make(tmp_path / "made")
    export(start(folder, TINY).model, text / "tokenizer", folder / "base")
    return folder


def test_it_is_copied_with_its_card_and_pinned_and_the_pin_holds(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned, place = tmp_path / "embedded.yaml", tmp_path / "weights"
    pinned.write_text("# words\nsource: embedded\nrevision: abc # digest\nsearch: {trials: 3}\n")
    digest = deliver(made, WORTHS, place, pinned, TINY)
    assert sorted(path.name for path in place.iterdir()) == sorted([*FILES, "README.md", "loss.svg"])
    assert pinned.read_text() == f"# words\nsource: embedded\nrevision: {digest} # digest\nsearch: {{trials: 3}}\n"
    assert digest == base_digest(str(place)) == base_digest(str(made / "base"))
    monkeypatch.setattr("loramill.pack.base.WEIGHTS", place)
    assert find_base(Base(revision=digest), tmp_path) == str(place)
    (place / "config.json").write_text("{}\n")
    with pytest.raises(
        BaseModelError, match=rf"has digest \w{{12}}, its file in conf/bases/ pins {digest[:12]}: .*git"
    ):
        find_base(Base(revision=digest), tmp_path)


def test_what_is_too_large_is_not_delivered(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_BYTES", 1000)
    with pytest.raises(BaseModelError, match=r"has [\d,]+ bytes, 1,000 are allowed"):
        check_base(made / "base")


def test_what_lacks_a_file_is_not_delivered(made: Path) -> None:
    (made / "base" / "tokenizer.json").unlink()
    with pytest.raises(BaseModelError, match=r"lacks tokenizer\.json; let `python -m scripts\.base make` end"):
        check_base(made / "base")


def test_weights_of_another_precision_are_not_delivered(made: Path) -> None:
    path = made / "base" / "model.safetensors"
    weights = load_file(path)
    name = sorted(weights)[0]
    save_file(weights | {name: weights[name].to(torch.float32)}, path)
    with pytest.raises(BaseModelError, match=r"holds BF16, F32 weights, BF16 are delivered"):
        check_base(made / "base")


def test_a_half_delivered_base_is_none(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, pinned = tmp_path / "weights", tmp_path / "embedded.yaml"
    shutil.copytree(made / "base", place)
    before = base_digest(str(place))
    monkeypatch.setattr(room, "write_card", lambda *words: pytest.fail("the disk is full"))
    with pytest.raises(pytest.fail.Exception):
        deliver(made, WORTHS, place, pinned, TINY)
    assert base_digest(str(place)) == before


def test_a_file_without_a_place_for_the_digest_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "embedded.yaml"
    path.write_text("source: embedded\n")
    with pytest.raises(BaseModelError, match="has 0 lines `revision: …`, one is needed"):
        pin(path, "abc")
