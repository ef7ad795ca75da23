"""A second opinion: a larger model behind an OpenAI-compatible address says which of two answers is better.

It is not told whose they are, and sees every pair in both orders: only an answer that it prefers in both has won. How often the
two orders agree, and how often it takes the first answer whatever it says, tell how much the opinion is worth. A judge that
does not answer stops nothing.
"""

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Final, Literal
from urllib.request import Request, urlopen

from loramill.config import JudgeConfig

KEY: Final = "LORAMILL_JUDGE_KEY"
"""Environment variable that holds the secret; it is never written anywhere."""
PATIENCE: Final = 3
"""Failures in a row after which nobody is asked any more."""
Choice = Literal["first", "second", "tie"]
ASKED: Final = (
    "Two assistants answered the same question. Judge which answer is more correct, more helpful and better in tone; a longer "
    "answer is not better for its length. The reference was written by a person who knows the field.\n\n"
    "[question]\n{question}\n\n[reference]\n{reference}\n\n[answer 1]\n{first}\n\n[answer 2]\n{second}\n\n"
    "Reply with one word: 1, 2 or tie."
)
_CHOICES: Final[dict[str, Choice]] = {"1": "first", "2": "second", "tie": "tie"}


@dataclass(frozen=True)
class Match:
    """One question with the challenger's answer and another model's."""

    question: str
    reference: str
    challenger: str
    other: str


@dataclass(frozen=True)
class Judgement:
    """What the judge said of all pairs that it saw in both orders."""

    pairs: int
    wins: int
    """Pairs in which the challenger was preferred in both orders."""
    losses: int
    ties: int
    agreement: float
    """Share of pairs in which both orders came to the same."""
    position_bias: float
    """Share of choices that fell on the first answer, less a half; ties aside."""


def judge(
    config: JudgeConfig, matches: Sequence[Match], on_failure: Callable[[str], None] = lambda reason: None
) -> Judgement | None:
    """Let the judge compare; none if it is off or no pair was judged.

    Args:
        config: who is asked, and how many pairs.
        matches: what is compared.
        on_failure: told why a pair was left out.
    """
    if config.url is None:
        return None
    both: list[tuple[Choice, Choice]] = []
    failures = 0
    for match in matches[: config.pairs]:
        try:
            ahead = _choice(config, match, match.challenger, match.other)
            behind = _choice(config, match, match.other, match.challenger)
        except (OSError, ValueError, LookupError, TypeError, HTTPException) as error:
            on_failure(_safely(error))
            failures += 1
            if failures == PATIENCE:
                break
            continue
        failures = 0
        both.append((ahead, behind))
    return _counted(both) if both else None


def _counted(both: Sequence[tuple[Choice, Choice]]) -> Judgement:
    wins, losses = both.count(("first", "second")), both.count(("second", "first"))
    agreed = wins + losses + both.count(("tie", "tie"))
    choices = [choice for pair in both for choice in pair if choice != "tie"]
    return Judgement(
        pairs=len(both),
        wins=wins,
        losses=losses,
        ties=len(both) - wins - losses,
        agreement=agreed / len(both),
        position_bias=choices.count("first") / len(choices) - 0.5 if choices else 0.0,
    )


def _choice(config: JudgeConfig, match: Match, first: str, second: str) -> Choice:
    """Ask once.

    Raises:
        OSError: no answer, or a refusal.
        ValueError: an answer that is no choice.
    """
    texts = {"question": match.question, "reference": match.reference, "first": first, "second": second}
    reply = _reply(config, _filled(ASKED, texts))
    last = reply.strip().rsplit("\n", 1)[-1].strip(" .*`\"'").lower()  # a model that thinks aloud decides at the end
    if last not in _CHOICES:
        raise ValueError(f"the judge said {last[:80]!r} instead of 1, 2 or tie")
    return _CHOICES[last]


def _filled(template: str, texts: dict[str, str]) -> str:
    """Fill in all texts at once: one that holds ``{second}`` stays as it is."""
    return re.sub(r"\{(\w+)\}", lambda found: texts[found[1]], template)


def _reply(config: JudgeConfig, asked: str) -> str:
    body = {"model": config.model, "temperature": 0, "messages": [{"role": "user", "content": asked}]}
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get(KEY):
        headers["Authorization"] = f"Bearer {key}"
    address = f"{str(config.url).rstrip('/')}/chat/completions"
    request = Request(address, json.dumps(body).encode(), headers)  # noqa: S310 - http or https: the section checked it
    with urlopen(request, timeout=config.seconds) as response:  # noqa: S310
        content: Any = json.loads(response.read())
    return str(content["choices"][0]["message"]["content"])


def _safely(error: Exception) -> str:
    """Return what went wrong in one line, without the secret should a server repeat it."""
    text = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    key = os.environ.get(KEY)
    return text.replace(key, "…") if key else text
