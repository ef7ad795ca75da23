import json
import shutil
from pathlib import Path

import pytest
import torch

from loramill.config import Base
from loramill.errors import BaseModelError, DataError
from loramill.pack.base import base_digest, find_base, load_base, load_tokenizer, token_ids
from loramill.pack.members import Pack
from loramill.pack.rows import Batch
from loramill.prompts import Row, encode
from tests.factories import record


def copied(folder: Path, place: Path) -> Path:
    shutil.copytree(folder, place)
    return place


def test_a_single_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "chatglm3-6b-int4.safetensors"
    path.write_bytes(b"x")
    with pytest.raises(BaseModelError, match=r"is a single file; a base is a transformers folder .*unquantised model"):
        find_base(Base(source=str(path)), tmp_path)


def test_a_folder_without_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match=r"has no config\.json; give the folder that holds the model itself"):
        find_base(Base(source=str(tmp_path)), tmp_path)


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(BaseModelError, match=r"holds no \*\.safetensors; pickled weights are never opened"):
        find_base(Base(source=str(tmp_path)), tmp_path)


@pytest.mark.parametrize("source", ["./none/here", "/none/here", "~/none", "none", "a/b/c"])
def test_a_place_that_does_not_exist_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(
        BaseModelError, match=rf"base '{source}' does not exist; give `embedded`, a name in conf/bases/"
    ):
        find_base(Base(source=source), tmp_path)


def test_a_hub_id_is_taken_at_its_word(tmp_path: Path) -> None:
    assert find_base(Base(source="owner/name"), tmp_path) == "owner/name"


def test_an_unknown_hub_id_without_network_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        BaseModelError,
        match=r"base 'loramill/none' is no folder here and the hub did not give it.*Check the name and the network",
    ):
        load_base(Base(source="loramill/none", device="cpu"), tmp_path)


def test_a_config_that_is_no_model_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "nothing-known"}')
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(BaseModelError, match=r"base folder '.*' cannot be loaded: "):
        load_base(Base(source=str(tmp_path), device="cpu"), tmp_path)


def test_weights_that_are_damaged_are_refused_by_name(tiny_folder: Path, tmp_path: Path) -> None:
    folder = copied(tiny_folder, tmp_path / "base")
    (folder / "model.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{broken}")
    with pytest.raises(BaseModelError, match=r"base folder '.*base' cannot be loaded: "):
        load_base(Base(source=str(folder), device="cpu"), tmp_path)


def test_code_that_a_base_brings_is_not_run(tiny_folder: Path, tmp_path: Path) -> None:
    folder = copied(tiny_folder, tmp_path / "base")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("raise SystemExit('the code of the base was run')\n")
    with pytest.raises(BaseModelError, match=r"brings Python code of its own, .*Read that code first"):
        load_base(Base(source=str(folder), device="cpu"), tmp_path)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(
        BaseModelError, match=rf"device '{device}' is not on this machine \(it has: cpu\); write device: auto"
    ):
        load_base(Base(source=str(tiny_folder), device=device), tiny_folder.parent)  # type: ignore[arg-type]


def test_a_stop_token_becomes_the_end_of_an_answer(tiny_folder: Path) -> None:
    tokenizer = load_tokenizer(Base(stop_token="<|endoftext|>"), str(tiny_folder))
    assert tokenizer.eos_token_id == tokenizer.convert_tokens_to_ids("<|endoftext|>")


def test_a_stop_token_that_the_base_does_not_know_is_refused(tiny_folder: Path) -> None:
    with pytest.raises(BaseModelError, match=r"stop_token '<end>' is not in the vocabulary of '.*one-minute-"):
        load_tokenizer(Base(stop_token="<end>"), str(tiny_folder))


def test_a_base_is_loaded_frozen_and_ready_to_be_asked(pack: Pack, tiny_folder: Path) -> None:
    base = load_base(Base(source=str(tiny_folder), device="cpu", template={"a": True}), tiny_folder.parent)
    assert not base.model.training
    assert not any(weight.requires_grad for weight in base.model.parameters())
    assert (base.name, base.digest, base.template) == (str(tiny_folder), pack.base.digest, {"a": True})
    assert base.device == torch.device("cpu")
    assert base.model.dtype == torch.float32


def test_a_base_comes_in_the_precision_asked_for(tiny_folder: Path) -> None:
    base = load_base(Base(source=str(tiny_folder), device="cpu", dtype="bfloat16"), tiny_folder.parent)
    assert base.model.dtype == torch.bfloat16


def test_a_digest_names_the_content_and_not_the_place(tiny_folder: Path, tmp_path: Path) -> None:
    folder = copied(tiny_folder, tmp_path / "base")
    before = base_digest(str(tiny_folder))
    assert base_digest(str(folder)) == before
    (folder / "notes.md").write_text("x")
    assert base_digest(str(folder)) == before
    tokenizer = folder / "tokenizer_config.json"
    tokenizer.write_text(tokenizer.read_text() + " ")
    assert base_digest(str(folder)) != before


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.model", "chat_template.jinja", "merges.txt"]
)
def test_a_digest_sees_weights_configuration_and_tokenizer(tmp_path: Path, name: str) -> None:
    """Qwen's tokenizer lies in vocab.json and merges.txt."""
    (tmp_path / "config.json").write_text("{}")
    before = base_digest(str(tmp_path))
    (tmp_path / name).write_text("x")
    assert base_digest(str(tmp_path)) != before


def test_a_real_base_made_elsewhere_is_loaded_and_packed(shared: Path) -> None:
    """Grouped-query attention, 105 characters, and no chat template."""
    base = load_base(Base(source=str(shared / "weights_babyllama105_940k/hf"), device="cpu"), shared)
    pack = Pack(base)
    ids = base.tokenizer("Once upon a time there was a little girl", add_special_tokens=False)["input_ids"]
    row = Row("girl", tuple(ids), 4)
    (losses,) = pack.losses([Batch(None, [row])])
    assert losses.shape == (row.targets,)
    assert losses.mean().item() < 2.0  # it knows its stories: 105 characters by chance are 4.65 nats
    with pytest.raises(DataError, match=r"no chat template.*instruct or chat version"):
        encode(base.tokenizer, record("a", "b"), {}, 100)


@pytest.mark.parametrize(("given", "ids"), [(None, set()), (3, {3}), ([2, 0], {2, 0})])
def test_a_configuration_gives_no_token_one_or_several(given: object, ids: set[int]) -> None:
    assert token_ids(given) == ids
