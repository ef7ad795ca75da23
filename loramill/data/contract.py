"""Hold rows against the contract: each row alone first, then those that are left against each other.

Rows pass through a spool in chunks, so that memory does not grow with them; what a person has written about people is
replaced before anything else sees it. Every row that was read is kept or listed: nothing vanishes.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from loramill.config import ValidationConfig
from loramill.data import quality
from loramill.data.crosscheck import Relations, relate
from loramill.data.expectations import Facts, Judges, Rule, cross_rules, row_rules, write_data_docs
from loramill.data.findings import Changed, Refused, Warned
from loramill.data.redact import redact_record, redact_text
from loramill.data.spool import Spool
from loramill.data.usual import Tally, Usual, cut_off, wrong_language
from loramill.records import Record

CHUNK: Final = 20_000
"""Rows that Great Expectations sees at once: its frame of them takes some 50 MB."""
OVERLAP: Final = 0.5
"""Share of a file's rows that must lie in another file before it is said."""
OVERLAP_ROWS: Final = 5
EXCERPT: Final = 60
"""Characters of a dropped row that its report shows."""


@dataclass
class Intake:
    """What came in, and what the reading and the redaction said about it."""

    files: dict[str, dict[str, int]]
    """By file: rows found in it, and how many of them could not be read."""
    refused: list[Refused]
    changed: list[Changed]
    usual: Usual
    ids: "array[int]"
    """Of the readable rows, as numbers."""


@dataclass(frozen=True)
class Outcome:
    """What the contract says about a folder of rows."""

    read: int
    kept: Sequence[int]
    """Places in the spool."""
    files: Mapping[str, Mapping[str, int]]
    dropped: Sequence[Refused]
    dropped_places: Sequence[int | None]
    """Where the dropped rows are in the spool; nowhere if they could not be read."""
    changed: Sequence[Changed]
    warned: Sequence[Warned]
    expectations: Sequence[Mapping[str, Any]]

    @property
    def reasons(self) -> dict[str, int]:
        """How many rows each rule dropped, the most frequent first."""
        return dict(Counter(row.rule for row in self.dropped).most_common())


def check_rows(
    rows: Iterable[Record | Refused],
    config: ValidationConfig,
    spool: Spool,
    judges: Judges,
    on_rows: Callable[[int], object] = lambda rows: None,
) -> Outcome:
    """Part rows that keep the contract from rows that break it.

    Args:
        rows: as they are read.
        config: the contract.
        spool: empty; it holds every readable row afterwards, redacted.
        judges: `open_judge`, whose verdict a run rests on, or `judge_plainly` for a person who waits.
        on_rows: told how many rows were checked since it was told last.
    """
    intake = take_in(rows, config, spool)
    alone = _Sieve(row_rules(config), judges, config, spool)
    firsts = first_places(intake.ids)
    copied: Counter[tuple[str, str]] = Counter()
    for chunk in spool.chunks(range(len(spool)), CHUNK):
        facts = [row_facts(place, record, intake.usual, firsts[place], spool) for place, record in chunk]
        copied.update(_copies((record for _, record in chunk), facts))
        alone.sift(facts)
        on_rows(len(chunk))
    left = alone.left(range(len(spool)))
    relations = relate(spool, left, config)
    copied.update(_nearly_copied(spool, relations))
    together = _Sieve(cross_rules(config), judges, config, spool, relations)
    for start in range(0, len(left), CHUNK):
        together.sift([cross_facts(place, relations) for place in left[start : start + CHUNK]])
    gone = alone.dropped | together.dropped
    return Outcome(
        read=len(spool) + len(intake.refused),
        kept=together.left(left),
        files=intake.files,
        dropped=[*intake.refused, *gone.values()],
        dropped_places=[*(None for _ in intake.refused), *gone],
        changed=intake.changed,
        warned=[*overlaps(copied, intake.files), *alone.warned(gone), *together.warned(gone)],
        expectations=[*alone.verdicts(), *together.verdicts()],
    )


def kept_records(outcome: Outcome, spool: Spool) -> Iterator[Record]:
    """Yield the rows to learn from, in the order in which they were read."""
    return (spool[place] for place in outcome.kept)


def build_data_docs(rows: Iterable[Record | Refused], config: ValidationConfig, folder: Path) -> Path:
    """Leave Great Expectations' own pages about some rows in a folder; return the first page.

    They take fonts and scripts from the network when they are opened: the report page of ours does not.
    """
    with Spool() as spool:
        intake = take_in(rows, config, spool)
        firsts, relations = first_places(intake.ids), relate(spool, range(len(spool)), config)
        facts = [
            row_facts(place, spool[place], intake.usual, first, spool) | cross_facts(place, relations)
            for place, first in enumerate(firsts)
        ]
    return write_data_docs(facts, [*row_rules(config), *cross_rules(config)], folder)


def take_in(rows: Iterable[Record | Refused], config: ValidationConfig, spool: Spool) -> Intake:
    """Redact rows as they come, and put the readable ones into a spool."""
    files: defaultdict[str, Counter[str]] = defaultdict(Counter)
    refused: list[Refused] = []
    changed: list[Changed] = []
    kinds: dict[frozenset[tuple[str, int]], Mapping[str, int]] = {}
    ids = array("Q")
    tally = Tally()
    for row in rows:
        file = files[_file(row.source)]
        file["rows"] += 1
        if isinstance(row, Refused):
            file["refused"] += 1
            refused.append(_redacted(row, config))
            continue
        record, found = redact_record(row, config.redact)
        ids.append(int(record.id, 16))
        if found:  # many rows have the same kinds replaced: they share the list of them
            changed.append(Changed(record.source, record.id, kinds.setdefault(frozenset(found.items()), dict(found))))
        spool.add(record)
        tally.add(record.messages[-1].content)
    counted = {file: {"rows": count["rows"], "refused": count["refused"]} for file, count in files.items()}
    return Intake(counted, refused, changed, tally.usual(config), ids)


def first_places(ids: "array[int]") -> "array[int]":
    """Return for each row the place of the first row with the same id."""
    _, first, same = np.unique(np.array(ids, np.uint64), return_index=True, return_inverse=True)
    return array("Q", first[same].astype(np.uint64).tobytes())


def row_facts(place: int, record: Record, usual: Usual, first: int, spool: Spool) -> Facts:
    """Return the columns of one row; ``first`` is the place of the first row that says the same."""
    question, answer, said = record.question, record.answer, record.messages[-1].content
    text = "\n".join(message.text for message in record.messages)
    answers = "\n".join(message.content for message in record.messages if message.role == "assistant")
    repeated, phrase = quality.repetition(said)
    return {
        "place": place,
        "question_chars": len(question),
        "answer_chars": len(answer),
        "answer_words": quality.words(answer),
        "shortest_turn": min((len(turn.text) for turn in record.messages if turn.role != "system"), default=0),
        "repeated": repeated,
        "repeated_phrase": quality.shown(phrase),
        "exact_duplicate": None if first == place else spool[first].source,
        "mojibake": quality.mojibake(text),
        "placeholder": quality.placeholder(question, answers),
        "special_token": quality.special_token(text),
        "control_character": quality.control_character(text),
        "url_only": quality.only_links(said),
        "echo": quality.echo(question, answer),
        "cut_off": cut_off(said, usual),
        "wrong_language": wrong_language(question, said, usual),
        "refusal": quality.refusal(answers),
        "fill_in": quality.slot(answers),
        "html": quality.html(question, answers),
        "invisible_character": quality.invisible_character(text),
    }


def cross_facts(place: int, relations: Relations) -> Facts:
    """Return the columns of what one row has to do with others."""
    found = {rule: findings.get(place) for rule, findings in vars(relations).items()}
    return {"place": place, **{rule: finding.reason if finding else None for rule, finding in found.items()}}


def overlaps(copied: Mapping[tuple[str, str], int], files: Mapping[str, Mapping[str, int]]) -> Iterator[Warned]:
    """Yield each file most of whose rows lie in another: about files and not rows, so Great Expectations has no say in it.

    Args:
        copied: number of rows by the file they are in and the one they, or nearly they, occur in before.
        files: rows of each file.
    """
    for pair, count in copied.items():
        file, other = sorted(pair, key=lambda name: files[name]["rows"])
        rows = files[file]["rows"]
        if file != other and count >= OVERLAP_ROWS and count >= OVERLAP * rows:
            reason = (
                f"{count} of {rows} rows of {file} occur in {other} as well, or nearly so: what was learnt from one could not "
                "be judged by the other. The same row counts once here, and the split makes a test set that shares nothing "
                "with training"
            )
            yield Warned("file_overlap", reason, (f"{file}:1", f"{other}:1"))


def _copies(records: Iterable[Record], facts: Iterable[Facts]) -> Iterator[tuple[str, str]]:
    for record, fact in zip(records, facts, strict=True):
        if fact["exact_duplicate"] is not None:
            yield _file(record.source), _file(str(fact["exact_duplicate"]))


def _nearly_copied(spool: Spool, relations: Relations) -> Iterator[tuple[str, str]]:
    for place, finding in relations.near_duplicate.items():
        yield _file(spool[place].source), _file(spool[finding.others[0]].source)


def _file(source: str) -> str:
    return source.rpartition(":")[0] or source


def _redacted(row: Refused, config: ValidationConfig) -> Refused:
    return replace(row, reason=redact_text(row.reason, config.redact), text=redact_text(row.text, config.redact))


class _Sieve:
    """Some rules, and what they caught."""

    def __init__(
        self,
        rules: list[Rule],
        judges: Judges,
        config: ValidationConfig,
        spool: Spool,
        relations: Relations | None = None,
    ) -> None:
        self._rules, self._spool, self._relations = rules, spool, relations
        self._actions = {rule.name: getattr(config.rules, rule.name) for rule in rules}
        self._judge = judges(rules)
        self._broken = [0] * len(rules)
        self._drop: dict[int, Refused] = {}
        self._warn: defaultdict[tuple[str, str], set[int]] = defaultdict(set)

    def sift(self, facts: list[Facts]) -> None:
        """Judge a chunk of rows."""
        by_place = {row["place"]: row for row in facts}
        for number, (rule, places) in enumerate(zip(self._rules, self._judge(facts), strict=True)):
            self._broken[number] += len(places)
            for place in places:
                self._catch(rule, place, rule.reason.format_map(by_place[place]))

    def _catch(self, rule: Rule, place: int, reason: str) -> None:
        if self._actions[rule.name] == "drop":
            if place not in self._drop:
                record = self._spool[place]
                self._drop[place] = Refused(record.source, rule.name, reason, record.question[:EXCERPT])
            return
        others = vars(self._relations)[rule.name][place].others if self._relations else ()
        self._warn[rule.name, reason].update((place, *others))

    def left(self, places: Iterable[int]) -> "array[int]":
        """Return those of some places that no rule dropped."""
        return array("Q", (place for place in places if place not in self._drop))

    @property
    def dropped(self) -> dict[int, Refused]:
        """The dropped rows by place, in the order in which they were read."""
        return dict(sorted(self._drop.items()))

    def warned(self, gone: Container[int]) -> Iterator[Warned]:
        """Yield what to look at; rows that are dropped anyway are left out, and what is said of two needs two."""
        order = list(self._actions)
        found = sorted(self._warn.items(), key=lambda item: (order.index(item[0][0]), min(item[1]), item[0][1]))
        for (rule, reason), places in found:
            kept = [place for place in sorted(places) if place not in gone]
            if len(kept) > (1 if self._relations else 0):
                yield Warned(rule, reason, tuple(self._spool[place].source for place in kept))

    def verdicts(self) -> list[dict[str, Any]]:
        """Return Great Expectations' verdict on each rule over all rows."""
        return [
            {
                "rule": rule.name,
                "expectation": rule.kind,
                "column": rule.column,
                "success": not broken,
                "rows": broken,
                "action": self._actions[rule.name],
            }
            for rule, broken in zip(self._rules, self._broken, strict=True)
        ]
