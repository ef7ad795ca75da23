from pathlib import Path

import pytest

from loramill.errors import AdapterError, ConfigError
from loramill.pack.members import Pack
from loramill.serving import chat as room
from loramill.serving.chat import Talk, chat
from loramill.tracking import Version
from tests.factories import tiny_base
from tests.unit.conftest import MakeAdapter


@pytest.fixture
def talk(tiny_folder: Path, make_adapter: MakeAdapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Talk:
    """Two domains with champions, one without, one on another base."""
    folders = {
        "law": make_adapter("law", 1),
        "shop": make_adapter("shop", 2),
        "alien": make_adapter("alien", 3, base_digest="ff"),
    }
    (tmp_path / "conf").mkdir()
    for domain in ("law", "shop", "alien", "new"):
        (tmp_path / f"conf/{domain}.yaml").write_text("")
    monkeypatch.chdir(tmp_path)

    def find(domain: str, alias: str) -> Version | None:
        assert alias == "champion"
        return Version(domain, "1", f"{domain}-digest-long", folders[domain], "") if domain in folders else None

    monkeypatch.setattr(room, "find", find)
    talk = Talk(Pack(tiny_base(tiny_folder)))
    monkeypatch.setattr(room, "_open", lambda domain: talk)
    return talk


def said(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *lines: str, compare: bool = False
) -> str:
    left = iter(lines)

    def type_line(prompt: str) -> str:
        for line in left:
            return line
        raise EOFError

    monkeypatch.setattr("builtins.input", type_line)
    chat("law", compare=compare, max_new_tokens=3)
    return capsys.readouterr().out


def test_a_conversation_is_remembered_until_it_is_forgotten(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(talk, monkeypatch, capsys, "你好", "", "还有呢", "/bye", "never")
    assert text.startswith("law (adapter law-digest-l). /use DOMAIN")
    assert text.count("[law] ") == 2
    assert [message.role for message in talk.messages] == ["user", "assistant"] * 2
    assert [message.content for message in talk.messages[::2]] == ["你好", "还有呢"]
    assert "(forgotten)" in said(talk, monkeypatch, capsys, "你好", "/new")
    assert talk.messages == []


def test_base_and_adapter_answer_the_same_question(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str | None, list[str]]] = []

    def answer(pack: object, member: str | None, messages: list[object], *_: object) -> str:
        asked.append((member, [message.content for message in messages]))  # type: ignore[attr-defined]
        return f"{member} says"

    monkeypatch.setattr("loramill.pack.speak.answer", answer)
    text = said(talk, monkeypatch, capsys, "一", "二", compare=True)
    assert text.count("[base] ") == 2
    assert asked == [
        ("law", ["一"]),
        (None, ["一"]),
        ("law", ["一", "law says", "二"]),
        (None, ["一", "law says", "二"]),
    ]


def test_a_new_champion_takes_the_place_of_the_old_one(
    talk: Talk, make_adapter: MakeAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk.use("law")
    before = talk.pack.weights("law")
    newer = Version("law", "2", "newer-digest", make_adapter("law-2", 9), "")
    monkeypatch.setattr(room, "find", lambda domain, alias: newer)
    assert talk.use("law") == "newer-digest"
    after = talk.pack.weights("law")
    assert any((before[name] != after[name]).any() for name in before)


def test_another_domain_is_taken_and_the_conversation_begins_anew(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(talk, monkeypatch, capsys, "你好", "/use shop", "/use law", "/use shop")
    assert text.count("(shop-digest-)") == 2
    assert (talk.domain, talk.messages, talk.pack.names) == ("shop", [], ["law", "shop"])


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        ("new", "error: 'new' has no champion yet: `loramill run new` makes one if the test rows prove it"),
        ("nobody", "error: unknown domain 'nobody': "),
        ("alien", "train it again on this base"),
        ("", "error: unknown domain '': "),
    ],
)
def test_a_domain_that_cannot_be_used_leaves_the_one_at_hand(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], domain: str, message: str
) -> None:
    monkeypatch.setattr("builtins.input", lambda prompt: "/bye")
    chat("law", compare=False, max_new_tokens=3)
    room._turn(talk, f"/use {domain}", compare=False, max_new_tokens=3)
    assert message in capsys.readouterr().out
    assert talk.domain == "law"


def test_an_unknown_command_is_no_question(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(talk, monkeypatch, capsys, "/help", "/use").count(room.HELP) == 3
    assert talk.messages == []


def test_a_conversation_with_nobody_is_refused(talk: Talk) -> None:
    with pytest.raises(AdapterError, match="'new' has no champion yet"):
        chat("new", compare=False, max_new_tokens=3)
    with pytest.raises(ConfigError, match="unknown domain 'nobody'"):
        chat("nobody", compare=False, max_new_tokens=3)


def test_a_question_that_was_not_answered_is_not_remembered(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the next question would be the second user turn in a row."""

    def broken(*_: object) -> str:
        raise KeyboardInterrupt("stop")

    talk.use("law")
    monkeypatch.setattr("loramill.pack.speak.answer", broken)
    with pytest.raises(KeyboardInterrupt, match="stop"):
        talk.ask("你好", 3, lambda text: None)
    assert talk.messages == []
