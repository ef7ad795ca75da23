import json
import threading
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from loramill.pages.morning import DomainNight, morning_markdown, morning_page
from tasks.morning import morning
from tasks.notify import ADDRESS, notify

PROMOTED = DomainNight(
    domain="law",
    ending="promoted",
    reasons=("20 added, 60 as before since version 1, the champion",),
    why="rows",
    changes={"added": 20, "changed": 0, "removed": 0, "kept": 60},
    drift=("the topic “产假” makes 40% of the new rows, 5% of the others",),
    champion="version 2",
    version="version 2",
    verdicts={"champion": {"outcome": "better", "gain": 0.1, "low": 0.05, "high": 0.2, "rows": 17}},
    taken="continued",
)
FAILED = DomainNight("shop", "failed", ("rows.txt:3: <b>张三</b> 13800000000",), champion="version 7")


class Heard(list[dict[str, object]]):
    """What a webhook was told; ``address`` is where."""

    address = ""


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    heard = Heard()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    heard.address = f"http://127.0.0.1:{server.server_port}/secret"
    monkeypatch.setenv(ADDRESS, heard.address)
    yield heard
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_notice_tells_the_endings_and_nothing_that_a_row_says(webhook: Heard, tmp_path: object) -> None:
    morning.fn([PROMOTED, FAILED], tmp_path / "morning.html")  # type: ignore[operator]
    (told,) = webhook
    assert told["counts"] == {"promoted": 1, "kept": 0, "skipped": 0, "person": 1}
    assert [(each["domain"], each["ending"], each["champion"]) for each in told["domains"]] == [  # type: ignore[attr-defined]
        ("law", "promoted", "version 2"),
        ("shop", "failed", "version 7"),
    ]
    assert "13800000000" not in json.dumps(told)
    assert "产假" not in json.dumps(told, ensure_ascii=False)


def test_nobody_waits_for_a_webhook_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not notify({})
    monkeypatch.setenv(ADDRESS, "http://127.0.0.1:9/secret-token")
    assert not notify({"event": "nightly"})
    said = capsys.readouterr().err
    assert "the webhook at 127.0.0.1 did not take the notice" in said
    assert "secret-token" not in said


@pytest.mark.parametrize(
    "address",
    ["http://[secret-token", "http://host:secret-token/", "https:///secret-token", "http://host/a secret-token"],
)
def test_an_address_that_cannot_be_used_costs_nothing_and_is_not_quoted(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(ADDRESS, address)
    assert not notify({"event": "nightly"})
    said = capsys.readouterr().err
    assert "did not take the notice" in said
    assert "secret-token" not in said


def test_an_address_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADDRESS, "file:///etc/passwd")
    assert not notify({"event": "nightly"})


def test_the_page_tells_every_domain_in_both_languages_and_escapes_what_rows_say() -> None:
    page = morning_page([PROMOTED, FAILED], datetime(2026, 11, 22, 2, 0))
    for words in ("已上线", "promoted", "新增 20 行", "20 added", "version 2", "出错", "2026-11-22 02:00", "better"):
        assert words in page, words
    assert "<b>张三</b>" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_summary_is_one_table_row_for_each_domain() -> None:
    table = morning_markdown([PROMOTED, DomainNight("shop", "failed", ("a | b\nc",))]).splitlines()
    assert len(table) == 4
    assert table[3] == "| shop | failed | a / b c | the base |"
