from pathlib import Path

import pytest
import yaml

from loramill.config import (
    SECTIONS,
    Base,
    Plan,
    Settings,
    domain_file,
    domains,
    load_plan,
    parse_plan,
    read_settings,
    read_yaml,
)
from loramill.errors import ConfigError, LoramillError

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A small conf/ of its own."""
    (tmp_path / "bases").mkdir()
    (tmp_path / "default.yaml").write_text("base: embedded\ntrain: {epochs: 8, seed: 1, patience: 2}\n")
    (tmp_path / "bases/small.yaml").write_text(
        "source: owner/small\ndtype: float16\nsearch: {fixed: {learning_rate: 3.0e-4}}\ntrain: {seed: 2, patience: 4}\n"
    )
    return tmp_path


def plan(conf: Path, text: str) -> Plan:
    (conf / "law.yaml").write_text(text, encoding="utf-8")
    return load_plan(conf / "law.yaml")


def test_default_yaml_says_every_key_and_every_default_of_the_plan() -> None:
    written = yaml.safe_load((CONF / "default.yaml").read_text(encoding="utf-8"))
    coded = Plan().model_dump(mode="json")
    assert written.pop("base") == coded.pop("base")["source"]
    assert written == coded


def test_every_step_has_a_section_that_the_plan_knows() -> None:
    assert list(SECTIONS) == ["validate", "split", "search", "train", "evaluate", "promote"]
    assert set(SECTIONS.values()) <= set(Plan.model_fields)


def test_every_domain_file_loads_and_holds_every_section() -> None:
    files = [path for path in CONF.glob("*.yaml") if path.stem != "default"]
    assert {path.stem for path in files} >= {"law", "customer-service"}
    for path in files:
        assert isinstance(load_plan(path), Plan)
        assert set(yaml.safe_load(path.read_text(encoding="utf-8"))) == set(Plan.model_fields)


def test_every_base_file_loads_and_is_found_by_its_name(tmp_path: Path) -> None:
    files = sorted((CONF / "bases").glob("*.yaml"))
    assert len(files) >= 4
    for path in files:
        (tmp_path / "mine.yaml").write_text(f"base: {path.stem}\n")
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert load_plan(tmp_path / "mine.yaml", CONF).base.source == content["source"]


def test_an_empty_domain_file_is_the_defaults(conf: Path) -> None:
    assert plan(conf, "") == Plan.model_validate({"train": {"epochs": 8, "seed": 1, "patience": 2}})


def test_domain_wins_over_base_and_base_over_default(conf: Path) -> None:
    train = plan(conf, "base: small\ntrain: {patience: 6}\n").train
    assert (train.epochs, train.seed, train.patience) == (8, 2, 6)


def test_a_base_file_brings_facts_about_the_base_and_settings_that_suit_it(conf: Path) -> None:
    found = plan(conf, "base: small\n")
    assert found.base == Base(source="owner/small", dtype="float16")
    assert found.search.fixed == Settings(learning_rate=3e-4)


def test_a_base_without_a_file_is_taken_at_its_word(conf: Path) -> None:
    assert plan(conf, "base: ../models/mine\n").base == Base(source="../models/mine")


def test_a_base_as_a_mapping_says_what_differs_from_its_file(conf: Path) -> None:
    found = plan(conf, "base: {source: small, device: cpu}\n")
    assert found.base == Base(source="owner/small", dtype="float16", device="cpu")
    assert found.train.patience == 4


def test_a_base_that_is_no_name_is_refused(conf: Path) -> None:
    with pytest.raises(ConfigError, match=r"base must be a name in conf/bases/, a folder or a hub id, got \[1, 2\]"):
        plan(conf, "base: [1, 2]\n")


def test_a_section_left_empty_keeps_its_defaults(conf: Path) -> None:
    assert plan(conf, "train:\n").train.epochs == 8


def test_a_list_is_replaced_and_not_merged(conf: Path) -> None:
    assert plan(conf, "search: {rank: [2]}\n").search.rank == (2,)


def test_misspelt_keys_are_named_with_the_allowed_ones_all_at_once(conf: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(conf, "trian: {}\ntrain: {epoch: 3}\nsearch: {learning_rate: {lo: 1}, trials: -1}\n")
    text = str(caught.value)
    assert text.startswith(f"{conf / 'law.yaml'}: 4 wrong\n")
    top = "base, evaluate, learning, nightly, promote, search, split, train, validation"
    assert f"  trian: unknown key; allowed here: {top}\n" in f"{text}\n"
    train = "epochs, patience, probe_steps, probes, save_steps, seed, start_from, tensorboard"
    assert f"  train.epoch: unknown key; allowed here: {train}\n" in f"{text}\n"
    assert "  search.learning_rate.lo: unknown key; allowed here: high, low\n" in f"{text}\n"
    assert "  search.trials: Input should be greater than or equal to 0, got -1\n" in f"{text}\n"


def test_a_misspelt_key_in_a_base_file_is_told_what_a_base_may_say(conf: Path) -> None:
    (conf / "bases/wrong.yaml").write_text("source: owner/x\ndevcie: cpu\n")
    with pytest.raises(ConfigError, match=r"devcie: unknown key; allowed here: .*device"):
        plan(conf, "base: wrong\n")


def test_a_number_that_yaml_takes_for_text_is_a_number(conf: Path) -> None:
    assert yaml.safe_load("2e-4") == "2e-4"
    assert plan(conf, "search: {fixed: {learning_rate: 2e-4}}\n").search.fixed.learning_rate == 2e-4


def test_a_range_upside_down_is_refused(conf: Path) -> None:
    with pytest.raises(ConfigError, match=r"search\.learning_rate: .*low \(0\.1\) must not exceed high \(0\.01\)"):
        plan(conf, "search: {learning_rate: {low: 0.1, high: 0.01}}\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"split": {"test": 0.5}}, "split.test: Input should be less than 0.5, got 0.5"),
        ({"split": {"validation": 0}}, "split.validation: Input should be greater than 0, got 0"),
        ({"learning": {"dropout": 1.0}}, "learning.dropout: Input should be less than 1, got 1.0"),
        ({"search": {"rank": []}}, "search.rank: Tuple should have at least 1 item"),
        (
            {"promote": {"over_base": "maybe"}},
            "promote.over_base: Input should be 'better' or 'not worse', got 'maybe'",
        ),
        ({"train": 5}, "train: Input should be a valid dictionary"),
    ],
)
def test_values_outside_their_range_are_refused(content: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_plan(content, "here")
    assert message in str(caught.value)


def test_answers_that_must_be_longer_than_they_may_be_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"min_answer_chars.*max_answer_chars"):
        parse_plan({"validation": {"min_answer_chars": 50, "max_answer_chars": 40}}, "here")


def test_a_plan_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Plan().train.epochs = 3


def test_an_unknown_domain_names_the_known_ones(conf: Path) -> None:
    (conf / "law.yaml").write_text("")
    (conf / "shop.yaml").write_text("")
    assert domains(conf) == ["law", "shop"]
    assert domain_file("law", conf) == conf / "law.yaml"
    with pytest.raises(ConfigError, match=r"unknown domain 'lwa': .*there are: law, shop.*`loramill new lwa`"):
        domain_file("lwa", conf)


def test_the_default_file_is_no_domain(conf: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown domain 'default': .*there are: none yet"):
        domain_file("default", conf)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read '.*none\.yaml': No such file"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    with pytest.raises(ConfigError, match=r"broken\.yaml' is not valid YAML"):
        read_yaml(tmp_path / "broken.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match=r"bytes\.yaml' is not valid YAML"):
        read_yaml(tmp_path / "bytes.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match="must hold `key: value` lines, it holds a list"):
        read_yaml(tmp_path / "list.yaml")


def test_settings_that_the_search_did_not_write_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("rank: 4\nalpha_ratio: 2.0\nlearning_rate: 1.0e-3\n")
    assert read_settings(path).alpha == 8.0
    path.write_text("rank: many\n")
    with pytest.raises(ConfigError, match=r"(?s)settings\.yaml' cannot be used .*delete it and search again"):
        read_settings(path)


def test_every_error_of_the_library_is_a_loramill_error() -> None:
    from loramill import errors

    found = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert len(found) == 9
    assert all(issubclass(kind, LoramillError) for kind in found)
