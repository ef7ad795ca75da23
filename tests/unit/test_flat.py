"""The two flat files that users of earlier tools have, and what they became."""

import shutil
from pathlib import Path

import pytest
import yaml

from loramill.config import load_plan, read_yaml
from loramill.errors import ConfigError
from loramill.flat import KEYS, Translated, translate


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> Path:
    """A folder in which the paths of both files exist."""
    monkeypatch.chdir(tmp_path)
    for folder in ("data/law_train", "data/llm_train", "models/llama-2-7b-chat-hf", "output/law_lora/checkpoint-500"):
        Path(folder).mkdir(parents=True)
    Path("data/llm_train/metadata.csv").write_text("file,prompt\n")
    shutil.copytree(root / "conf", tmp_path / "conf")
    return tmp_path


def flat(place: Path, **changes: object) -> Path:
    """A small flat file that is right, but for ``changes``."""
    content = {"train_data_dir": "data/law_train", "base_model": "embedded"} | changes
    path = place / "mine.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True))
    return path


def plan_of(found: Translated) -> dict[str, object]:
    return load_plan(found.plan, Path("conf")).model_dump(mode="json")


def test_every_key_of_law_qa_is_honoured_and_explained(shared: Path, place: Path) -> None:
    path = shared / "flat_configs/law_qa.yaml"
    found = translate(path, Path("artifacts"))
    given = {key: value for key, value in read_yaml(path).items() if value is not None}
    assert [line.split(":")[0] for line in found.said] == list(given)
    assert all(" → " in line for line in found.said)
    assert found.plan == Path("artifacts/flat-law_qa/flat-law_qa.yaml")
    assert found.data == Path("data/law_train")
    assert found.output == Path("output/law_lora")
    plan = load_plan(found.plan, Path("conf"))
    assert (plan.base.source, plan.base.device) == ("./models/llama-2-7b-chat-hf", "cuda")
    assert (plan.search.trials, plan.search.fixed.rank, plan.search.fixed.alpha) == (0, 16, 32)
    assert plan.search.fixed.learning_rate == 1.5e-4
    assert (plan.learning.dropout, plan.learning.batch, plan.learning.max_tokens) == (0.1, 4, 512)
    assert plan.learning.target_modules == ("q_proj", "v_proj")
    assert (plan.train.epochs, plan.train.save_steps) == (15, 50)
    assert plan.train.start_from == "./output/law_lora/checkpoint-500"


def test_the_single_file_base_of_cs_lora_is_refused(shared: Path, place: Path) -> None:
    with pytest.raises(ConfigError, match=r"cs_lora\.yaml: 1 wrong\n  base_model: .*is a single file; a base is a"):
        translate(shared / "flat_configs/cs_lora.yaml", Path("artifacts"))
    assert not Path("artifacts").exists()


def test_cs_lora_with_a_folder_as_base_is_honoured(shared: Path, place: Path) -> None:
    content = read_yaml(shared / "flat_configs/cs_lora.yaml") | {"base_model": "embedded"}
    assert content["learning_rate"] == "2e-4"  # text to YAML
    found = translate(flat(place, **content), Path("artifacts"))
    assert len(found.said) == len(content)
    plan = load_plan(found.plan, Path("conf"))
    assert plan.search.fixed.learning_rate == 2e-4
    assert plan.search.fixed.alpha == 16  # none given: twice the rank


def test_the_table_knows_every_key_of_both_files(shared: Path) -> None:
    keys = {key for path in (shared / "flat_configs").glob("*.yaml") for key in read_yaml(path)}
    assert keys == set(KEYS)


def test_all_problems_are_told_at_once(place: Path) -> None:
    path = flat(place, lora_rnk=8, train_data_dir="none", task_type="image", fp16="yes", device="tpu", epochs="many")
    with pytest.raises(ConfigError) as caught:
        translate(path, Path("artifacts"))
    text = str(caught.value)
    assert ": 6 wrong\n" in text
    assert "  lora_rnk: unknown key; known are train_data_dir, metadata_path, base_model" in text
    assert "  train_data_dir: folder 'none' does not exist; the paths in the file must" in text
    assert "  task_type: only text-generation is known, got 'image'" in text
    assert "  fp16: true or false, got 'yes'" in text
    assert "  device: one of auto, cpu, cuda, mps, got 'tpu'" in text
    assert "  epochs: invalid literal for int()" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_model": None}, "base_model: missing"),
        ({"train_data_dir": ""}, "train_data_dir"),
        ({"metadata_path": "none.csv"}, "metadata_path: file 'none.csv' does not exist; leave the key empty"),
        ({"metadata_path": "data/llm_train/metadata.csv"}, "must be metadata.csv inside train_data_dir"),
        (
            {"resume_from_checkpoint": "none"},
            "resume_from_checkpoint: folder 'none' does not exist. A training that was",
        ),
        ({"lora_rank": 0}, "lora_rank: "),
        ({"lora_rank": [8]}, "lora_rank: "),
        ({"lora_dropout": [0.1]}, "lora_dropout: "),
        ({"device": ["cpu"]}, "device: "),
        ({"target_modules": "q_proj"}, "target_modules: "),
        ({"target_modules": 5}, "target_modules: "),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_its_key(
    place: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        translate(flat(place, **changes), Path("artifacts"))
    assert message in str(caught.value)


def test_a_value_out_of_range_is_refused_when_the_plan_is_read(place: Path) -> None:
    found = translate(flat(place, batch_size=0), Path("artifacts"))
    with pytest.raises(ConfigError, match=r"learning\.batch: Input should be greater than 0"):
        plan_of(found)


def test_alpha_and_rank_do_not_depend_on_their_order(place: Path) -> None:
    for keys in (("lora_rank", "lora_alpha"), ("lora_alpha", "lora_rank")):
        values = {"lora_rank": 4, "lora_alpha": 4}
        path = place / "mine.yaml"
        lines = [f"{key}: {values[key]}" for key in keys]
        path.write_text("\n".join(["train_data_dir: data/law_train", "base_model: embedded", *lines]))
        plan = load_plan(translate(path, Path("artifacts")).plan, Path("conf"))
        assert (plan.search.fixed.rank, plan.search.fixed.alpha) == (4, 4)


def test_the_adapter_is_delivered_where_it_is_wanted(place: Path) -> None:
    found = translate(flat(place, output_dir="out/mine"), Path("artifacts"))
    (found.plan.parent / "adapter").mkdir()
    (found.plan.parent / "adapter/adapter_config.json").write_text("{}")
    assert found.deliver() == Path("out/mine")
    assert found.deliver() == Path("out/mine")  # a second time as well
    assert Path("out/mine/adapter_config.json").read_text() == "{}"
    assert translate(flat(place), Path("artifacts")).deliver() == Path("artifacts/flat-mine/adapter")
