import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from loramill.config import Rules
from loramill.data.page import LISTED, TEMPLATES, data_page
from loramill.records import Record
from tests.factories import record, records
from tests.unit.data.test_topics import made

VOID = {"meta", "input", "line", "rect", "br"}
HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">'


class Page(HTMLParser):
    """The elements and texts of a page; fails on an element that is never closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"zh": [], "en": [], "": []}
        self.script = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(self.elements[-1])

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop()[0] == tag, f"</{tag}> closes what it did not open"

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self.open]
        if "script" in tags:
            self.script += data
        elif "style" not in tags:
            spoken = [attributes.get("class") for tag, attributes in self.open if tag == "span"]
            self.texts[next((str(name) for name in spoken if name in ("zh", "en")), "")].append(data)

    def said(self, language: str) -> str:
        return "".join(self.texts[language])


def dropped(rule: str, count: int = 1, **more: str) -> list[dict[str, Any]]:
    return [
        {"source": f"a.csv:{row}", "rule": rule, "reason": f"reason {row}", "text": "开头", **more}
        for row in range(count)
    ]


def page(validate: dict[str, Any] | None = None, split: dict[str, Any] | None = None, **parts: list[Record]) -> str:
    kept = [row for rows in parts.values() for row in rows] or records(5)
    return data_page("law", kept, parts, validate or {}, split or {})


@pytest.fixture(scope="module")
def full() -> str:
    """A page with every section filled."""
    validate = {
        "read": 340,
        "kept": 40,
        "files": [{"file": "a.csv", "rows": 40, "refused": 2}],
        "dropped": dropped("not-json", 3) + dropped("exact_duplicate", 297) + dropped("unheard-of"),
        "changed": [{"source": "a.csv:1", "id": "0", "found": {"phone": 2, "iris-scan": 1}}],
        "warned": [{"rule": "contradiction", "reason": "two answers", "sources": ["a.csv:8", "b.csv:9"]}],
        "expectations": [{"rule": "too_short", "rows": 3}, {"rule": "too_short", "rows": 4}],
    }
    every = [*records(39), record("在吗？", "在" * 3000)]
    return page(
        validate,
        {"new": 7, "refused": dropped("matches-test-row")},
        train=every[:30],
        test=every[30:38],
        validation=every[38:],
    )


def test_the_page_stands_alone_and_may_load_nothing(full: str) -> None:
    seen = Page(full)
    policy = next(str(attributes["content"]) for _, attributes in seen.elements if attributes.get("http-equiv"))
    own = base64.b64encode(hashlib.sha256(seen.script.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{own}'" in policy
    assert [tag for tag, _ in seen.elements if tag in ("link", "img", "iframe", "object", "base", "form")] == []
    links = [
        str(value) for _, attributes in seen.elements for name, value in attributes.items() if name in ("href", "src")
    ]
    assert links
    assert all(link.startswith("#") for link in links)
    targets = {attributes.get("id") for _, attributes in seen.elements}
    assert {link[1:] for link in links} <= targets
    assert not re.search(r"url\(|@import|https?://", full)


def test_every_sentence_stands_there_in_both_languages(full: str) -> None:
    spoken = [attributes.get("class") for tag, attributes in Page(full).elements if tag == "span"]
    spoken = [name for name in spoken if name in ("zh", "en")]
    assert len(spoken) > 200
    assert spoken == ["zh", "en"] * (len(spoken) // 2)
    assert not re.search("[\u4e00-\u9fff]", Page(full).said("en"))


@pytest.mark.parametrize("kind", ["lost-files", "too-few-rows", "too-many-dropped", "small-part"])
def test_a_page_of_a_run_that_stopped_says_so_first(kind: str) -> None:
    stopped = {"kind": kind, "reason": "3 usable rows of 9"}
    for text in (page({"stopped": stopped}), page(None, {"stopped": stopped})):
        seen = Page(text)
        (first,) = (text.strip() for text in seen.texts["zh"] if text.startswith("还没有开始学习："))
        said = seen.said("en")
        assert said.index("Nothing was learnt: ") < said.index("rows that came in")
        assert "3 usable rows of 9" in "".join(seen.texts[""])
        assert first.endswith("。")
    assert "还没有开始学习" not in page()


def test_nothing_that_a_row_says_becomes_part_of_the_page(full: str) -> None:
    hostile = record(HOSTILE, HOSTILE * 3, f"{HOSTILE}.csv:1")
    validate = {
        "files": [{"file": HOSTILE, "rows": 1, "refused": 0}],
        "dropped": [{"source": HOSTILE, "rule": HOSTILE, "reason": HOSTILE, "text": HOSTILE}],
        "changed": [{"found": {HOSTILE: 1}}],
        "warned": [{"rule": HOSTILE, "reason": HOSTILE, "sources": [HOSTILE]}],
        "expectations": [{"rule": HOSTILE, "rows": 1}],
    }
    text = data_page(HOSTILE, [hostile] * 30, {"train": [hostile] * 30}, validate, {"refused": validate["dropped"]})
    seen = Page(text)
    assert [tag for tag, _ in seen.elements].count("script") == 1
    assert {tag for tag, _ in seen.elements} <= {tag for tag, _ in Page(full).elements}
    assert "alert(1)" in "".join(seen.said(language) for language in seen.texts)


def test_characters_that_would_break_or_turn_the_page_are_replaced() -> None:
    text = page({"dropped": dropped("html", text="甲\ud800乙\u202e丙\x00\u2066丁")})
    assert text.encode()
    assert "甲\ufffd乙\ufffd丙\ufffd\ufffd丁" in text


def test_each_rule_of_the_contract_has_plain_words() -> None:
    rules = list(Rules.model_fields)
    assert len(rules) > 15
    seen = Page(page({"dropped": [row for rule in rules for row in dropped(rule)]}))
    assert seen.said("zh").count("怎么办：") == len(rules)
    assert seen.said("en").count("What to do: ") == len(rules)


def test_each_rule_of_the_readers_has_plain_words(root: Path) -> None:
    plain = yaml.safe_load((TEMPLATES / "plain_words.yaml").read_text(encoding="utf-8"))
    files = [*(root / "loramill/data/read").glob("*.py"), root / "loramill/data/split.py"]
    named = {
        name
        for file in files
        for name in re.findall(
            r'(?:Refused|UnreadableRowError)\(\s*(?:[^"()]|f"[^"]*")*?"([a-z-]+)"', file.read_text("utf-8")
        )
    }
    assert len(named) > 15
    assert named <= set(plain["rules"]), f"no plain words in {TEMPLATES.name}/plain_words.yaml"
    for words in plain["rules"].values():
        assert {language: set(said) for language, said in words.items()} == {
            language: {"what", "why", "next"} for language in ("zh", "en")
        }


def test_an_unknown_rule_says_the_reason_itself(full: str) -> None:
    assert "What to do" not in Page(page({"dropped": dropped("unheard-of")})).said("en")
    assert "reason 0" in Page(page({"dropped": dropped("unheard-of")})).said("")


def test_rows_are_listed_up_to_a_limit_and_the_rest_is_said_to_be_elsewhere() -> None:
    text = page({"dropped": dropped("html", LISTED + 7)})
    assert text.count('<td class="place">') == LISTED
    assert f"The first {LISTED} of {LISTED + 7} are listed here; validate.json" in text
    assert "validate.json" not in page({"dropped": dropped("html", LISTED)})


def test_personal_data_are_counted_and_never_shown(full: str) -> None:
    seen = Page(full)
    assert "phone numbers" in seen.said("en")
    assert "电话号码" in seen.said("zh")
    assert "iris-scan" in seen.said("")


def test_a_rule_on_two_columns_is_one_check(full: str) -> None:
    assert re.search(r'Too short</span></td><td class="count">7</td>', full)


def test_reports_without_anything_still_make_a_page() -> None:
    seen = Page(data_page("law", [], {}, {}, {}))
    assert "No row can be learnt from" in seen.said("en")
    assert "too few rows to tell topics apart" in seen.said("en")


def test_a_topic_without_test_row_is_named_with_the_rows_to_write() -> None:
    rows, themes = made(90)
    holidays = [row for row, theme in zip(rows, themes, strict=True) if theme == "holiday"]
    seen = Page(page(train=[row for row in rows if row not in holidays[:10]], test=holidays[:10]))
    assert "not in the exam" in seen.said("en")
    assert "No exam question on" in seen.said("en")
    assert "With about 20 more rows" in seen.said("en")  # 10 of 90 rows are drawn: (1 - 1/9)^20 < 0.1
    assert "试用期" in seen.said("")


def test_the_page_is_the_same_for_the_same_rows() -> None:
    rows, _ = made(60)
    assert page(train=rows[:50], test=rows[50:]) == page(train=rows[:50], test=rows[50:])
    assert "What people ask about" in page(train=rows)
