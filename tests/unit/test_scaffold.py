import shutil
from pathlib import Path

import pytest
import yaml

from loramill.config import Plan, load_plan
from loramill.errors import ConfigError
from loramill.scaffold import make_domain


@pytest.fixture
def house(tmp_path: Path, root: Path) -> Path:
    """A copy of the files that a new domain touches."""
    shutil.copytree(root / "conf", tmp_path / "conf")
    for name in ("dvc.yaml", "prefect.yaml"):
        shutil.copy(root / name, tmp_path)
    return tmp_path


def comments(path: Path) -> list[str]:
    return [line.partition("#")[2].strip() for line in path.read_text(encoding="utf-8").splitlines() if "#" in line]


def test_a_new_domain_has_a_plan_a_folder_stages_and_a_deployment(house: Path) -> None:
    before = yaml.safe_load((house / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    said = make_domain("medical-qa", house)
    (house / "plain.yaml").write_text("base: embedded\n", encoding="utf-8")
    assert load_plan(house / "conf/medical-qa.yaml") == load_plan(house / "plain.yaml", house / "conf")
    assert set(yaml.safe_load((house / "conf/medical-qa.yaml").read_text())) == set(Plan.model_fields)
    assert (house / "data/medical-qa").is_dir()
    assert yaml.safe_load((house / "dvc.yaml").read_text(encoding="utf-8"))["vars"][0]["domains"] == [
        "customer-service",
        "law",
        "medical-qa",
    ]
    *old, new = yaml.safe_load((house / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    assert old == before
    assert (new["name"], new["parameters"]) == ("medical-qa", {"domain": "medical-qa"})
    assert {key: new[key] for key in ("entrypoint", "work_pool")} == {
        key: old[-1][key] for key in ("entrypoint", "work_pool")
    }
    assert "schedules" not in new  # the night goes over all domains
    assert [line.split(" ")[0] for line in said] == ["made", "next:"]
    assert "loramill run medical-qa" in said[1]


def test_everything_but_the_new_domain_stays_the_same(house: Path, root: Path) -> None:
    make_domain("medical", house)
    was = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))
    now = yaml.safe_load((house / "dvc.yaml").read_text(encoding="utf-8"))
    assert now["stages"] == was["stages"]


def test_comments_survive(house: Path, root: Path) -> None:
    make_domain("medical", house)
    for name in ("dvc.yaml", "prefect.yaml"):
        assert comments(root / name)
        assert comments(house / name) == comments(root / name)


def test_a_person_can_still_read_the_deployments(house: Path) -> None:
    """No anchors that nobody wrote."""
    make_domain("medical", house)
    assert "id001" not in (house / "prefect.yaml").read_text(encoding="utf-8")


def test_lines_that_are_not_the_domains_are_not_touched(house: Path, root: Path) -> None:
    make_domain("medical", house)
    for name in ("dvc.yaml", "prefect.yaml"):
        was = (root / name).read_text(encoding="utf-8").splitlines()
        now = (house / name).read_text(encoding="utf-8").splitlines()
        gone = [line for line in was if line not in now]
        assert all("domains:" in line for line in gone), gone


def test_two_new_domains_live_side_by_side(house: Path) -> None:
    make_domain("one", house)
    make_domain("two", house)
    names = [d["name"] for d in yaml.safe_load((house / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]]
    assert names == ["all", "law", "customer-service", "one", "two"]


@pytest.mark.parametrize(
    "name", ["", "Law", "法律", "a b", "../x", "1law", "-law", "default", "bases", "a" * 41, "a.b"]
)
def test_a_name_that_cannot_be_used_is_refused_and_nothing_is_made(house: Path, name: str) -> None:
    before = (house / "dvc.yaml").read_text(encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"use lower-case letters, digits and dashes, starting with a letter, up to 40"
    ):
        make_domain(name, house)
    assert not (house / "data").exists()
    assert (house / "dvc.yaml").read_text(encoding="utf-8") == before


def test_a_domain_that_exists_is_refused(house: Path) -> None:
    with pytest.raises(ConfigError, match=r"domain 'law' exists already: .*law\.yaml"):
        make_domain("law", house)
