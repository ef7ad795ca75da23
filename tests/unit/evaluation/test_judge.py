import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from loramill.config import JudgeConfig
from loramill.evaluation.judge import KEY, PATIENCE, Match, judge

SECRET = "sk-very-secret"
Reply = Callable[[str], tuple[int, str]]


class Server:
    """A small OpenAI-compatible server; `reply` makes its answers."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.reply: Reply = lambda asked: (200, "tie")
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.asked.append(body | {"path": self.path})
                server.keys.append(self.headers["Authorization"])
                status, text = server.reply(body["messages"][0]["content"])
                self.send_response(status)
                self.end_headers()
                content = {"choices": [{"message": {"content": text}}]}
                self.wfile.write(json.dumps(content).encode() if text != "garbage" else b"<html>")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def config(self, **changes: object) -> JudgeConfig:
        address = f"http://127.0.0.1:{self.http.server_port}/v1/"
        return JudgeConfig.model_validate({"url": address, "model": "big", "seconds": 5.0} | changes)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.delenv(KEY, raising=False)
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


def matches(count: int) -> list[Match]:
    return [Match(f"question {n}", "reference", f"good {n}", f"bad {n}") for n in range(count)]


def prefers(word: str) -> Reply:
    """Choose the answer in which a word stands, wherever it is."""
    return lambda asked: (200, "1" if word in asked.partition("[answer 1]")[2].partition("[answer 2]")[0] else "2")


def test_nobody_is_asked_unless_there_is_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loramill.evaluation.judge.urlopen", pytest.fail)
    assert judge(JudgeConfig(), matches(3)) is None


def test_a_fair_judge_lets_the_better_answers_win_in_both_orders(server: Server) -> None:
    server.reply = prefers("good")
    found = judge(server.config(), matches(3))
    assert found is not None
    assert (found.pairs, found.wins, found.losses, found.ties) == (3, 3, 0, 0)
    assert (found.agreement, found.position_bias) == (1.0, 0.0)
    server.reply = prefers("bad")
    found = judge(server.config(), matches(2))
    assert found is not None
    assert (found.wins, found.losses) == (0, 2)


def test_a_judge_that_always_takes_the_first_decides_nothing(server: Server) -> None:
    server.reply = lambda asked: (200, "Answer 1 and 2 are close.\n\n**1**.")
    found = judge(server.config(), matches(4))
    assert found is not None
    assert (found.wins, found.losses, found.ties) == (0, 0, 4)
    assert (found.agreement, found.position_bias) == (0.0, 0.5)


def test_ties_agree_and_have_no_bias(server: Server) -> None:
    found = judge(server.config(), matches(2))
    assert found is not None
    assert (found.ties, found.agreement, found.position_bias) == (2, 1.0, 0.0)


def test_the_judge_is_blind_sees_both_orders_and_no_more_pairs_than_asked(server: Server) -> None:
    judge(server.config(pairs=2), matches(5))
    assert len(server.asked) == 4
    first, second = (body["messages"][0]["content"] for body in server.asked[:2])
    assert first.index("good 0") < first.index("bad 0")
    assert second.index("bad 0") < second.index("good 0")
    assert not any(word in first.lower() for word in ("challenger", "champion", "adapter", "base"))
    assert {body["path"] for body in server.asked} == {"/v1/chat/completions"}
    assert {(body["model"], body["temperature"]) for body in server.asked} == {("big", 0)}


def test_the_key_comes_from_the_environment_and_is_never_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    judge(server.config(), matches(1))
    monkeypatch.setenv(KEY, SECRET)
    server.reply = lambda asked: (200, f"wrong key {SECRET}")
    reasons: list[str] = []
    assert judge(server.config(), matches(1), reasons.append) is None
    assert server.keys == [None, None, f"Bearer {SECRET}"]
    assert len(reasons) == 1
    assert SECRET not in reasons[0]


@pytest.mark.parametrize("reply", [(500, "1"), (401, "1"), (200, "garbage"), (200, "maybe"), (200, "")])
def test_a_judge_that_fails_stops_nothing_and_is_not_asked_for_ever(server: Server, reply: tuple[int, str]) -> None:
    server.reply = lambda asked: reply
    reasons: list[str] = []
    assert judge(server.config(), matches(9), reasons.append) is None
    assert len(reasons) == len(server.asked) == PATIENCE


def test_one_failure_costs_one_pair(server: Server) -> None:
    server.reply = lambda asked: (503, "") if "question 1" in asked else prefers("good")(asked)
    found = judge(server.config(), matches(3))
    assert found is not None
    assert (found.pairs, found.wins) == (2, 2)


def test_a_judge_that_sleeps_is_left(server: Server) -> None:
    server.reply = lambda asked: (time.sleep(0.4), (200, "1"))[1]
    reasons: list[str] = []
    assert judge(server.config(seconds=0.05), matches(1), reasons.append) is None
    assert "timed out" in reasons[0]


def test_an_address_at_which_nobody_is_stops_nothing() -> None:
    assert judge(JudgeConfig(url="http://127.0.0.1:9/v1", model="m"), matches(2)) is None


def test_a_text_that_looks_like_our_own_form_is_only_a_text(server: Server) -> None:
    judge(server.config(), [Match("{first}", "{second}", "\\1 {question}", "b")])
    assert "[question]\n{first}\n" in server.asked[0]["messages"][0]["content"]
    assert "[answer 1]\n\\1 {question}\n" in server.asked[0]["messages"][0]["content"]
