"""The written contract of rows, as Great Expectations understands it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loramill.config import ValidationConfig
from loramill.data.read import Refused
from loramill.records import Record


@dataclass(frozen=True)
class Rule:
    """One expectation on one column, and what its breach means to a person."""

    column: str
    kind: str
    reason: str
    limits: dict[str, Any]


def rules(config: ValidationConfig) -> list[Rule]:
    """Return the contract."""
    return [
        Rule("copy_of", "ExpectColumnValuesToBeNull", "the same row occurs before", {}),
        Rule(
            "question",
            "ExpectColumnValueLengthsToBeBetween",
            f"question shorter than validation.min_question_chars ({config.min_question_chars})",
            {"min_value": config.min_question_chars},
        ),
        Rule(
            "answer",
            "ExpectColumnValueLengthsToBeBetween",
            f"answer shorter than validation.min_answer_chars ({config.min_answer_chars}) "
            f"or longer than validation.max_answer_chars ({config.max_answer_chars})",
            {"min_value": config.min_answer_chars, "max_value": config.max_answer_chars},
        ),
        Rule(
            "shortest", "ExpectColumnValueLengthsToBeBetween", "a turn of the conversation is empty", {"min_value": 1}
        ),
        Rule(
            "answer",
            "ExpectColumnValuesToNotMatchRegex",
            "placeholder left in the answer",
            {"regex": r"\{\{.*?\}\}|\bTODO\b|lorem ipsum|待补充|此处填写"},
        ),
        Rule(
            "text",
            "ExpectColumnValuesToNotMatchRegex",
            "unreadable characters (wrong encoding)",
            {"regex": "\ufffd|锟斤拷|烫烫烫"},
        ),
    ]


def apply_contract(
    records: Sequence[Record], config: ValidationConfig
) -> tuple[list[Record], list[Refused], list[dict[str, Any]]]:
    """Part rows that keep the contract from rows that break it.

    Returns:
        The rows to learn from, the others with the reason, and Great Expectations' verdict per rule.
    """
    contract = rules(config)
    verdicts = _validate(_frame(records), contract) if records else []
    broken: dict[int, str] = {}
    for rule, verdict in zip(contract, verdicts, strict=bool(verdicts)):
        for place in verdict["rows"]:
            broken.setdefault(place, rule.reason)
    kept = [record for place, record in enumerate(records) if place not in broken]
    refused = [Refused(records[place].source, broken[place], records[place].question[:60]) for place in sorted(broken)]
    return kept, refused, verdicts


def _frame(records: Sequence[Record]) -> Any:
    import pandas as pd

    first: dict[str, int] = {}
    earlier = [first.setdefault(record.id, place) for place, record in enumerate(records)]
    copies = [None if before == place else records[before].source for place, before in enumerate(earlier)]
    return pd.DataFrame(
        {
            "place": range(len(records)),
            "question": [record.question for record in records],
            "answer": [record.answer for record in records],
            "text": [f"{record.question}\n{record.answer}" for record in records],
            "shortest": [
                min((turn.content for turn in record.messages if turn.role != "system"), key=len, default="")
                for record in records
            ],
            "copy_of": pd.Series(copies, dtype=object),
        }
    )


def _validate(frame: Any, contract: Sequence[Rule]) -> list[dict[str, Any]]:
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    for noisy in ("great_expectations", "great_expectations.data_context.types.base"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    batch = (
        context.data_sources.add_pandas("rows").add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
    )
    expectations = [getattr(gx.expectations, rule.kind)(column=rule.column, **rule.limits) for rule in contract]
    suite = context.suites.add(gx.ExpectationSuite(name="contract", expectations=expectations))
    definition = context.validation_definitions.add(gx.ValidationDefinition(name="contract", data=batch, suite=suite))
    result = definition.run(
        batch_parameters={"dataframe": frame},
        result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["place"]},
    )
    found = {item.expectation_config.id: item for item in result.results}
    return [
        _verdict(rule, found[expectation.id]) for rule, expectation in zip(contract, suite.expectations, strict=True)
    ]


def _verdict(rule: Rule, item: Any) -> dict[str, Any]:
    indices = item.result.get("unexpected_index_list") or []
    rows = [index["place"] if isinstance(index, dict) else index for index in indices]
    return {
        "expectation": rule.kind,
        "column": rule.column,
        "rule": rule.reason,
        "success": bool(item.success),
        "rows": rows,
    }
