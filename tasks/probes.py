"""The same few questions, asked again and again while an adapter learns, so that a person sees the style arrive."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loramill.records import Record
from loramill.reports import write_json
from loramill.training.watch import recitation
from tasks.measuring import PRIVATE

if TYPE_CHECKING:
    from loramill.pack.members import Pack

PROBE_TOKENS: Final = 40
"""Tokens of a probe's answer: enough to hear the tone, too few to cost time."""
BASE: Final = "base"


@dataclass(frozen=True)
class Answer:
    """What was said to one probe at one moment; the columns of the table that a person reads."""

    probe: int
    """Counted from 1."""
    step: int
    speaker: str
    """``base`` before training, then the member's name."""
    answer: str
    question: str
    reference: str
    """What the row says."""


class Probes:
    """Fixed questions, what was answered so far, and whether an answer is a training row by heart.

    Asking is greedy and happens between steps: it draws no random number and leaves no gradient.
    """

    def __init__(self, pack: "Pack", records: Sequence[Record], learnt: Sequence[Record], file: Path) -> None:
        self._pack, self._file = pack, file
        self.records = records
        self._learnt = "\n".join(turn.text for row in learnt for turn in row.messages if turn.role == "assistant")
        self.answers: list[Answer] = []

    def ask(self, member: str | None, step: int) -> list[Answer]:
        """Return every probe's answer by a member, or by the bare base, and keep them all in the file as JSON."""
        from loramill.data.redact import redact_text
        from loramill.pack.speak import answer

        given = [
            Answer(
                probe=number,
                step=step,
                speaker=member or BASE,
                answer=redact_text(answer(self._pack, member, record.asked, PROBE_TOKENS, tools=record.tools), PRIVATE),
                question=record.question,
                reference=record.answer,
            )
            for number, record in enumerate(self.records, start=1)
        ]
        self.answers += given
        write_json(self._file, [asdict(each) for each in self.answers])
        return given

    def recited(self, given: Sequence[Answer]) -> str | None:
        """Return a passage that an answer recites from the training rows, if one does; the base may know it as well."""
        for each in given:
            base = [said.answer for said in self.answers if (said.probe, said.speaker) == (each.probe, BASE)]
            record = self.records[each.probe - 1]
            known = "\n".join([*(message.text for message in record.messages), *base])
            if passage := recitation(each.answer, known, self._learnt):
                return passage
        return None


def probe_records(validation: Sequence[Record], count: int) -> list[Record]:
    """Return ``count`` rows, chosen by their ids: the same ones as long as they are there, whatever joins them."""
    return sorted(validation, key=lambda record: record.id)[:count]
