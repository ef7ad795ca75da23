"""The pre-flight as one HTML file: every token in its colour, its id when pointed at."""

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loramill.pages.render import UNPRINTABLE, render
from loramill.preflight import say
from loramill.preflight.problems import RULES, Problem, by_rule
from loramill.preflight.report import Report, rows_to_show
from loramill.preflight.rows import Checked
from loramill.preflight.spell import Piece, Speller

if TYPE_CHECKING:
    from markupsafe import Markup

TEMPLATES: Final = Path(__file__).parent / "templates"
ROWS: Final = 300
"""Rows that are spelt out; the page stays small enough for a mail."""
PROBLEMS: Final = 200
"""Rows of one rule that are named."""
OPEN: Final = 3
"""Rows that stand open at first."""
CODES: Final = {"prompt": "p", "control": "c", "learnt": "a", "stop": "s"}
"""Names of the colours, short because each token carries one."""


def page(report: Report, significance: float) -> str:
    """Return the page."""
    values = {
        "report": report,
        "records": len(report.checked),
        "learnt": sum(row.targets for checked in report.checked for row in checked.rows),
        "stopping": len({problem.source for problem in report.problems if problem.level == "error"}),
        "groups": [_group(rule, found) for rule, found in by_rule(report.problems).items()],
        "facts": _facts(report),
        "stages": _stages(report),
        "lengths": _lengths(report),
        "speed": (say.speed_chinese(report.speed), say.speed_english(report.speed)),
        "proof": (say.proof_chinese(report.proof, significance), say.proof_english(report.proof, significance)),
        "minutes": _minutes(report),
        "deviations": "∞" if report.proof.deviations == float("inf") else f"{report.proof.deviations:.2f} σ",
        "rows": _rows(report),
        "open": OPEN,
    }
    return render(TEMPLATES, "check.html", values)


def _group(rule: str, found: list[Problem]) -> dict[str, Any]:
    words = RULES[rule]
    return {
        "rule": rule,
        "colour": "bad" if words.level == "error" else "warn",
        "zh": words.chinese,
        "en": words.english,
        "count": len(found),
        "shown": [{"source": problem.source, "reason": _readable(problem.reason)} for problem in found[:PROBLEMS]],
    }


def _facts(report: Report) -> list[tuple[str, str, str]]:
    base, tokenizer = report.base, report.base.tokenizer
    stop, pad = tokenizer.eos_token, tokenizer.pad_token
    same = pad is not None and pad == stop
    arguments = ", ".join(f"{key}: {value}".lower() for key, value in base.template.items()) or "–"
    return [
        ("底座", "Base", base.name),
        ("词表", "Vocabulary", f"{len(tokenizer):,} / {base.config.get('vocab_size', '?'):,}" if base.config else "?"),
        ("结束符", "Stop token", f"{stop} (id {tokenizer.eos_token_id})"),
        ("填充符", "Padding token", f"{pad} = {stop}: rows are never padded here, 本项目不填充" if same else str(pad)),
        ("不认识的字", "Unknown characters", _unknown(tokenizer)),
        ("模板参数", "Template arguments", arguments),
    ]


def _unknown(tokenizer: Any) -> str:
    return "→ bytes / 字节" if tokenizer.unk_token is None else f"→ {tokenizer.unk_token}"


def _stages(report: Report) -> list[dict[str, Any]]:
    if report.forecast is None:
        return []
    named = (("搜索", "Search", report.forecast.search), ("训练", "Train", report.forecast.train))
    return [
        {
            "zh": zh,
            "en": en,
            "steps": stage.steps,
            "tokens": stage.tokens,
            "time": say.duration(stage.seconds),
            "memory": say.size(stage.memory.total if stage.memory else None),
        }
        for zh, en, stage in named
    ]


def _lengths(report: Report) -> list[tuple[str, str, Any]]:
    plan = report.forecast
    if plan is None:
        return []
    return [("提示", "Prompt", plan.prompt), ("回答", "Answer", plan.answer), ("整行", "Whole row", plan.row)]


def _minutes(report: Report) -> str:
    plan = report.forecast
    if plan is None or plan.train.seconds is None:
        return "?"
    return say.duration(plan.train.seconds + (plan.search.seconds or 0))


def _rows(report: Report) -> list[dict[str, Any]]:
    tokenizer = report.base.tokenizer
    if not tokenizer.chat_template or tokenizer.eos_token_id is None:
        return []
    speller = Speller(tokenizer)
    first = [checked for checked in rows_to_show(report.checked, OPEN) if checked.rows]
    known = {id(checked) for checked in first}
    others = [checked for checked in report.checked if checked.rows and id(checked) not in known]
    return [_row(checked, speller) for checked in [*first, *others][:ROWS]]


def _row(checked: Checked, speller: Speller) -> dict[str, Any]:
    longest = max(checked.rows, key=lambda row: len(row.ids))
    return {
        "source": checked.record.source,
        "question": checked.record.question,
        "prompt": longest.prompt_length,
        "targets": longest.targets,
        "turns": len(checked.rows),
        "problems": [
            (RULES[problem.rule].chinese, RULES[problem.rule].english, problem.level) for problem in checked.problems
        ],
        "spelt": _spelt(speller(longest)),
    }


def _spelt(pieces: list[Piece]) -> "Markup":
    """Return the tokens as spans, those of one colour together: the template would need a second for them."""
    from markupsafe import Markup, escape

    parts = []
    for kind, run in groupby(pieces, key=lambda piece: piece.kind):
        tokens = "".join(f'<i data-i="{" ".join(map(str, piece.ids))}">{escape(_visible(piece))}</i>' for piece in run)
        parts.append(f"<span class={CODES[kind]}>{tokens}</span>")
    return Markup("".join(parts))  # noqa: S704 - every text in it was escaped


def _visible(piece: Piece) -> str:
    """Return a piece's text with its line ends marked; what cannot be printed is named."""
    text = "".join(f"⟨U+{ord(c):04X}⟩" if UNPRINTABLE.match(c) else c for c in piece.text)
    return text.replace("\n", "↵\n")


def _readable(text: str) -> str:
    return UNPRINTABLE.sub("\ufffd", text)
