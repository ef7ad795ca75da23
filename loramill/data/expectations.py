"""The written contract of rows, as Great Expectations understands it: each rule is an expectation on a computed column.

A column holds a measure (lengths, shares) or the evidence that a rule found, empty where it found none; see
`loramill.data.quality` for one row, `loramill.data.crosscheck` for rows against each other.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from loramill.config import ValidationConfig

NULL: Final = "ExpectColumnValuesToBeNull"
BETWEEN: Final = "ExpectColumnValuesToBeBetween"

Facts = dict[str, Any]
"""The columns of one row, by name; ``place`` is its number."""
Judge = Callable[[Sequence[Facts]], list[list[int]]]
"""Takes rows; returns for each rule the places of the rows that break it."""


@dataclass(frozen=True)
class Rule:
    """One expectation on one column, and what its breach means to a person."""

    name: str
    """Its key in ``validation.rules``."""
    column: str
    kind: str
    limits: Mapping[str, float]
    reason: str
    """With the row's columns in braces."""


Judges = Callable[[Sequence[Rule]], Judge]
"""Makes the judge of some rules."""


def row_rules(config: ValidationConfig) -> list[Rule]:
    """Return the rules that a row keeps or breaks by itself, the plainest reason first; those that are off are left out."""
    return _that_are_on(config, [*_measures(config), *_evidence()])


def cross_rules(config: ValidationConfig) -> list[Rule]:
    """Return the rules that a row keeps or breaks together with others."""
    names = ("near_duplicate", "contradiction", "same_answer")
    return _that_are_on(config, [Rule(name, name, NULL, {}, f"{{{name}}}") for name in names])


def _that_are_on(config: ValidationConfig, rules: list[Rule]) -> list[Rule]:
    return [rule for rule in rules if getattr(config.rules, rule.name) != "off"]


def _measures(config: ValidationConfig) -> list[Rule]:
    least_question, least, most = config.min_question_chars, config.min_answer_chars, config.max_answer_chars
    return [
        Rule("empty", "shortest_turn", BETWEEN, {"min_value": 1}, "a turn of the conversation is empty; fill it in"),
        Rule("empty", "answer_words", BETWEEN, {"min_value": 1}, "the answer holds no letter and no digit"),
        Rule(
            "too_short",
            "question_chars",
            BETWEEN,
            {"min_value": least_question},
            f"question of {{question_chars}} characters, shorter than validation.min_question_chars ({least_question})",
        ),
        Rule(
            "too_short",
            "answer_chars",
            BETWEEN,
            {"min_value": least},
            f"answer of {{answer_chars}} characters, shorter than validation.min_answer_chars ({least})",
        ),
        Rule(
            "too_long",
            "answer_chars",
            BETWEEN,
            {"max_value": most},
            f"answer of {{answer_chars}} characters, longer than validation.max_answer_chars ({most}); shorten it",
        ),
        Rule(
            "repetition",
            "repeated",
            BETWEEN,
            {"max_value": config.max_repeated},
            "«{repeated_phrase}» again and again fills {repeated:.0%} of the answer, more than validation.max_repeated "
            f"({config.max_repeated:.0%})",
        ),
    ]


def _evidence() -> list[Rule]:
    reasons = {
        "mojibake": "unreadable characters: «{mojibake}» was read in a wrong encoding; export it again as UTF-8",
        "placeholder": "placeholder left: «{placeholder}»; fill it in",
        "special_token": "«{special_token}» is a token of a chat template and would break this one; take it out",
        "control_character": "control character «{control_character}»; take it out",
        "url_only": "the answer is only a link ({url_only}); write what stands there",
        "echo": "the answer only repeats the question; answer it",
        "exact_duplicate": "the same row occurs before: {exact_duplicate}",
        "cut_off": "the answer seems to stop in mid-sentence: «{cut_off}»; end it",
        "wrong_language": "the answer is in another script: {wrong_language}",
        "refusal": "another assistant speaks: «{refusal}»; write the answer that yours shall give",
        "fill_in": "«{fill_in}» looks like a blank that nobody filled in",
        "html": "«{html}» is left of a web page; write plain text",
        "invisible_character": "character that nobody sees ({invisible_character}); take it out",
    }
    return [Rule(name, name, NULL, {}, reason) for name, reason in reasons.items()]


def open_judge(rules: Sequence[Rule]) -> Judge:
    """Start Great Expectations once; the judge it returns takes rows in chunks and remembers none of them."""
    if not rules:
        return lambda facts: []
    context = _quiet_context(mode="ephemeral")
    definition = _whole_frame(context)
    suite, ids = _suite(context, rules)

    def judge(facts: Sequence[Facts]) -> list[list[int]]:
        batch = definition.get_batch(batch_parameters={"dataframe": _frame(facts, rules)})
        result = batch.validate(suite, result_format=_complete())
        found = {item.expectation_config.id: item for item in result.results}
        return [_places(found[id]) for id in ids]

    return judge


def judge_plainly(rules: Sequence[Rule]) -> Judge:
    """Return a judge that says the same as Great Expectations, whose import alone takes longer than a whole pre-flight.

    It answers a person who waits; what a run rests on is the verdict of `open_judge`.
    """
    return lambda facts: [[row["place"] for row in facts if _breaks(rule, row[rule.column])] for rule in rules]


def _breaks(rule: Rule, value: Any) -> bool:
    if rule.kind == NULL or value is None:
        return rule.kind == NULL and value is not None
    return not rule.limits.get("min_value", value) <= value <= rule.limits.get("max_value", value)


def write_data_docs(facts: Sequence[Facts], rules: Sequence[Rule], folder: Path) -> Path:
    """Leave Great Expectations' own pages about some rows in a folder; return the first page.

    They take fonts and scripts from the network when they are opened: the report page of ours does not.
    """
    import great_expectations as gx

    context = _quiet_context(mode="file", project_root_dir=folder)
    suite, _ = _suite(context, rules)
    validation = gx.ValidationDefinition(name="contract", data=_whole_frame(context), suite=suite)
    checkpoint = gx.Checkpoint(
        name="contract",
        validation_definitions=[context.validation_definitions.add(validation)],
        actions=[gx.checkpoint.UpdateDataDocsAction(name="docs")],
        result_format=_complete(),
    )
    context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": _frame(facts, rules)})
    return next(folder.rglob("local_site/index.html"))


def _quiet_context(**where: Any) -> Any:
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    for noisy in ("great_expectations", "great_expectations.data_context.types.base"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    context = gx.get_context(**where)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def _whole_frame(context: Any) -> Any:
    asset = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
    return asset.add_batch_definition_whole_dataframe("all")


def _suite(context: Any, rules: Sequence[Rule]) -> tuple[Any, list[str]]:
    """Return the suite and the id of each rule's expectation."""
    import great_expectations as gx

    made = [getattr(gx.expectations, rule.kind)(column=rule.column, notes=rule.name, **rule.limits) for rule in rules]
    suite = context.suites.add(gx.ExpectationSuite(name="contract", expectations=made))
    return suite, [expectation.id for expectation in suite.expectations]


def _complete() -> dict[str, Any]:
    return {"result_format": "COMPLETE", "unexpected_index_column_names": ["place"]}


def _frame(facts: Sequence[Facts], rules: Sequence[Rule]) -> Any:
    import pandas as pd

    kinds = {rule.column: object if rule.kind == NULL else float for rule in rules}
    columns = {name: pd.Series([row[name] for row in facts], dtype=kind) for name, kind in kinds.items()}
    return pd.DataFrame({"place": [row["place"] for row in facts], **columns})


def _places(item: Any) -> list[int]:
    # an expectation that could not be computed is a fault of ours, and must not pass for a kept rule
    assert "unexpected_index_list" in item.result or item.success, item.exception_info
    return [int(index["place"]) for index in item.result.get("unexpected_index_list") or []]
