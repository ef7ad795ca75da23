"""Do template, tokenizer and base belong together?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from loramill.pack.facts import BaseFacts
from loramill.preflight.problems import Problem
from loramill.prompts import template_digest

PADDING: Final = 0.02
"""Share of a base's vocabulary that may stand empty: it is rounded up for speed, at most by 1 % in the families seen."""


@dataclass(frozen=True)
class Earlier:
    """An adapter that is there already."""

    folder: str
    template_digest: str
    is_start: bool
    """Training starts from it whatever changed, because ``train.start_from`` names it."""


def check_base(facts: BaseFacts, earlier: Earlier | None = None) -> list[Problem]:
    """Name everything about the base that would spoil every row."""
    if not facts.tokenizer.chat_template:
        reason = (
            f"{facts.name!r} brings no chat template, so nobody can know how a server would ask it; "
            "take its instruct or chat version"
        )
        return [Problem("no-template", reason), *_configuration(facts)]
    return [*_configuration(facts), *_template(facts, earlier)]


def window_of(facts: BaseFacts) -> int | None:
    """Return how many tokens the base can read at once, where its configuration says so."""
    sliding = facts.config.get("sliding_window") if facts.config.get("use_sliding_window", True) else None
    found = [size for size in (facts.config.get("max_position_embeddings"), sliding) if isinstance(size, int)]
    return min(found, default=None)


def _configuration(facts: BaseFacts) -> Iterator[Problem]:
    if not facts.config:
        yield Problem(
            "no-config", f"{facts.name!r} has no readable config.json; give the folder that holds the model itself"
        )
        return
    yield from _vocabulary(facts)
    yield from _special_ids(facts)


def _vocabulary(facts: BaseFacts) -> Iterator[Problem]:
    known, room = len(facts.tokenizer), int(facts.config.get("vocab_size") or 0)
    if known > room or known < room * (1 - PADDING):
        yield Problem(
            "vocabulary",
            f"the tokenizer knows {known:,} tokens, the base's config.json has vocab_size {room:,}: they are of different "
            "models; take the tokenizer that came with the base",
        )


def _special_ids(facts: BaseFacts) -> Iterator[Problem]:
    known = len(facts.tokenizer)
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        value = facts.config.get(key)
        beyond = [index for index in (value if isinstance(value, list) else [value]) if (index or 0) >= known]
        if beyond:
            yield Problem(
                "special-ids",
                f"config.json has {key} {value}, the tokenizer ends at {known - 1}; take the tokenizer that came with the base",
            )
    stop = facts.tokenizer.eos_token_id
    if stop is None:
        yield Problem("no-stop", "set stop_token in conf/bases/ to the token with which the template ends an answer")
    elif facts.stops and stop not in facts.stops:
        theirs = ", ".join(repr(token) for token in facts.tokenizer.convert_ids_to_tokens(sorted(facts.stops)))
        yield Problem(
            "stop-id",
            f"answers are taught to end with {facts.tokenizer.eos_token!r}, the base's configuration stops at {theirs}: "
            "`loramill chat` stops rightly, another server must be told",
        )


def _template(facts: BaseFacts, earlier: Earlier | None) -> Iterator[Problem]:
    now = template_digest(facts.tokenizer, facts.template)
    if earlier is None or earlier.template_digest == now:
        return
    differ = f"{earlier.folder} learnt template {earlier.template_digest[:12]}, this base has {now[:12]}"
    if earlier.is_start:
        yield Problem(
            "start-template", f"{differ}; write train.start_from: last, or the old template's arguments in conf/bases/"
        )
    else:
        yield Problem("other-template", f"{differ}: the next training starts from scratch")
