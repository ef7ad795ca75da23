import json
from copy import deepcopy
from pathlib import Path

import pytest

from loramill.errors import AdapterError
from loramill.pack.manifest import FILE, adapter_digest, check_base, library_versions, read_manifest, tokenizer_digest
from loramill.pack.members import Pack, shape_facts
from loramill.pack.methods import Shape
from tests.unit.conftest import MakeAdapter


def test_a_manifest_returns_as_it_was_and_names_the_files(make_adapter: MakeAdapter) -> None:
    folder = make_adapter()
    manifest = read_manifest(folder)
    assert manifest.digest == adapter_digest(folder)
    assert (manifest.domain, manifest.rows, manifest.started_from) == ("law", ["a"], None)
    assert manifest.shape == shape_facts(Shape(rank=2, alpha=4, seed=1))


def test_the_digest_does_not_depend_on_the_folder_or_the_manifest(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    folder = make_adapter(domain="law")
    digest = adapter_digest(folder)
    (folder / FILE).write_text("{}")
    assert adapter_digest(folder.rename(tmp_path / "elsewhere")) == digest


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_files_changed_after_training_are_refused(make_adapter: MakeAdapter, name: str) -> None:
    path = make_adapter() / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(AdapterError, match=r"was changed after training: .*restore it from MLflow or train it again"):
        read_manifest(path.parent)


def test_an_adapter_without_manifest_is_refused(make_adapter: MakeAdapter) -> None:
    folder = make_adapter()
    (folder / FILE).unlink()
    with pytest.raises(AdapterError, match=r"has no loramill\.json: it was not trained here"):
        read_manifest(folder)


def test_a_folder_that_is_no_adapter_says_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(AdapterError, match=r"is no adapter folder: it lacks adapter_model\.safetensors; train one"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"digest": "x"}', '{"format": "x"}'])
def test_a_damaged_manifest_is_refused(make_adapter: MakeAdapter, content: str) -> None:
    folder = make_adapter()
    (folder / FILE).write_text(content)
    with pytest.raises(AdapterError, match=r"loramill\.json' is damaged .*restore it from MLflow"):
        read_manifest(folder)


def edited(folder: Path, **changes: object) -> Path:
    content = json.loads((folder / FILE).read_text(encoding="utf-8")) | changes
    (folder / FILE).write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.mark.parametrize("changes", [{"later": 1}, {"format": 3}])
def test_a_manifest_of_a_later_version_says_so(make_adapter: MakeAdapter, changes: dict[str, object]) -> None:
    with pytest.raises(AdapterError, match=r"loramill\.json' was written by a later loramill .*update loramill"):
        read_manifest(edited(make_adapter(), **changes))


@pytest.mark.parametrize("changes", [{"rows": []}, {"scores": {"loss": 0.1}}, {"base_digest": "b"}, {"seal": None}])
def test_a_manifest_changed_by_hand_is_refused(make_adapter: MakeAdapter, changes: dict[str, object]) -> None:
    with pytest.raises(AdapterError, match=r"loramill\.json' was changed after it was written"):
        read_manifest(edited(make_adapter(), **changes))


def test_a_manifest_from_before_there_were_seals_is_read(make_adapter: MakeAdapter, pack: Pack) -> None:
    folder = make_adapter()
    content = json.loads((folder / FILE).read_text(encoding="utf-8"))
    old = {key: content[key] for key in content.keys() - {"seal", "format", "recipe", "scores", "tokenizer_digest"}}
    (folder / FILE).write_text(json.dumps(old), encoding="utf-8")
    manifest = read_manifest(folder)
    assert (manifest.format, manifest.recipe, manifest.scores) == (1, {}, {})
    check_base(manifest, pack.base, folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_digest": "b" * 64}, r"was trained on base .* \(digest bbbbbbbbbbbb\)"),
        ({"template_digest": "t" * 64}, r"was trained with another chat template \(digest tttttttttttt\)"),
        ({"tokenizer_digest": "k" * 64}, r"was trained with another tokenizer .*set base.template and base.stop_token"),
    ],
)
def test_an_adapter_meets_only_the_base_that_it_was_trained_with(
    make_adapter: MakeAdapter, pack: Pack, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(AdapterError, match=message):
        pack.load("other", make_adapter(**changes))
    assert pack.names == []


def test_a_tokenizer_that_ends_answers_otherwise_is_another(pack: Pack) -> None:
    other = deepcopy(pack.base.tokenizer)
    assert tokenizer_digest(other) == tokenizer_digest(pack.base.tokenizer)
    other.eos_token = pack.base.tokenizer.convert_ids_to_tokens(5)
    assert tokenizer_digest(other) != tokenizer_digest(pack.base.tokenizer)


def test_versions_of_all_libraries_that_shape_an_adapter_are_known() -> None:
    assert set(library_versions()) == {"torch", "transformers", "peft", "loramill"}
    assert all(version[0].isdigit() for version in library_versions().values())
