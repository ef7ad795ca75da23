import json
from pathlib import Path

import pytest

from loramill.errors import AdapterError
from loramill.pack.manifest import FILE, adapter_digest, library_versions, read_manifest
from loramill.pack.members import shape_facts
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


@pytest.mark.parametrize("content", ["", "{", "[]", '{"digest": "x"}', '{"other": 1}'])
def test_a_damaged_manifest_is_refused(make_adapter: MakeAdapter, content: str) -> None:
    folder = make_adapter()
    (folder / FILE).write_text(content)
    with pytest.raises(AdapterError, match=r"loramill\.json"):
        read_manifest(folder)


def test_a_manifest_of_a_later_version_is_refused_and_not_raised(make_adapter: MakeAdapter) -> None:
    folder = make_adapter()
    content = json.loads((folder / FILE).read_text()) | {"later": 1}
    (folder / FILE).write_text(json.dumps(content))
    with pytest.raises(AdapterError, match=r"loramill\.json"):
        read_manifest(folder)


def test_versions_of_all_libraries_that_shape_an_adapter_are_known() -> None:
    assert set(library_versions()) == {"torch", "transformers", "peft", "loramill"}
    assert all(version[0].isdigit() for version in library_versions().values())
