from pathlib import Path

import pytest
import torch

from loramill.errors import AdapterError
from loramill.pack.members import Pack
from loramill.pack.methods import Shape
from loramill.pack.rows import Batch, pack_rows
from loramill.pack.speak import answer
from loramill.records import Message
from tests.factories import rows, tiny_base
from tests.unit.conftest import MakeAdapter


def test_an_adapter_is_loaded_with_its_weights(pack: Pack, make_adapter: MakeAdapter) -> None:
    folder = make_adapter()
    manifest = pack.load("law", folder)
    some = rows(pack.base, 2)
    ours, bare = pack.losses([Batch("law", some), Batch(None, some)])
    assert pack.names == ["law"]
    assert manifest.domain == "law"
    assert (ours - bare).abs().max().item() > 0.01
    pack.remove("law")
    assert pack.names == []


def test_an_adapter_of_another_base_is_refused(pack: Pack, make_adapter: MakeAdapter) -> None:
    folder = make_adapter(base="owner/other", base_digest="0123456789abcdef")
    with pytest.raises(
        AdapterError, match=r"was trained on base owner/other \(digest 0123456789ab\), this base is .*train it again on"
    ):
        pack.load("law", folder)
    assert pack.names == []


def test_target_modules_that_the_base_does_not_have_are_refused(pack: Pack) -> None:
    with pytest.raises(AdapterError, match=r"target_modules \['nothing'\] do not fit '.*one-minute-"):
        pack.add("a", Shape(2, 4, target_modules=("nothing",)))


def test_weights_of_another_rank_are_refused(pack: Pack) -> None:
    pack.add("a", Shape(2, 4))
    pack.add("b", Shape(4, 4))
    with pytest.raises(AdapterError, match=r"these weights do not fit adapter 'a': other layers, or another rank"):
        pack.set_weights("a", pack.weights("b"))
    pack.remove("a")
    pack.remove("b")


def test_first_weights_depend_on_the_seed_alone(pack: Pack) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.rand(3)
        pack.add(name, Shape(2, 4, seed=seed))
    first, same, other = (list(pack.weights(name).values()) for name in "abc")
    assert all(torch.equal(one, two) for one, two in zip(first, same, strict=True))
    assert not all(torch.equal(one, two) for one, two in zip(first, other, strict=True))
    for name in "abc":
        pack.remove(name)


def test_hanging_an_adapter_leaves_the_random_numbers_of_others_alone(pack: Pack) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    pack.add("a", Shape(2, 4))
    assert torch.equal(torch.rand(3), expected)
    pack.remove("a")


def test_the_base_speaks_after_its_first_member_was_taken_off(pack: Pack, make_adapter: MakeAdapter) -> None:
    """PEFT goes on calling the removed one its active adapter."""
    asked = [Message("user", "工资怎么算？")]
    folder = make_adapter()
    bare = answer(pack, None, asked, 4)
    pack.load("law", folder)
    assert answer(pack, None, asked, 4) == bare
    pack.remove("law")
    assert answer(pack, None, asked, 4) == bare


def test_an_adapter_speaks_otherwise_than_its_base_and_leaves_it_alone(
    tiny_folder: Path, make_adapter: MakeAdapter
) -> None:
    pack = Pack(tiny_base(tiny_folder))
    asked = [Message("user", "工资怎么算？")]
    bare = answer(pack, None, asked, 8)
    pack.load("law", make_adapter())
    heard: list[str] = []
    assert answer(pack, None, asked, 8) == bare
    spoken = answer(pack, "law", asked, 8, heard.append)
    assert spoken != bare
    if "\ufffd" not in spoken:
        assert "".join(heard).strip() == spoken


def test_no_rows_cannot_be_packed(pack: Pack) -> None:
    with pytest.raises(ValueError, match="pack_rows needs at least one row"):
        pack_rows([Batch(None, [])], torch.device("cpu"))


def test_a_saved_adapter_is_two_files_that_everybody_may_read(make_adapter: MakeAdapter) -> None:
    folder: Path = make_adapter()
    assert {file.name for file in folder.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "loramill.json",
    }
    assert all(file.stat().st_mode & 0o444 == 0o444 for file in folder.iterdir())
