"""What ``conf/`` may say about rows: the contract that they must keep, and how they are split."""

from typing import Annotated, Literal, Self, get_args

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from loramill.config.section import Section, as_switch

PersonalKind = Literal[
    "phone", "id_card", "bank_card", "email", "address", "plate", "name", "contract_amount", "chat_account"
]
"""Personal data that can be told from its form and its surroundings."""


Action = Annotated[Literal["drop", "warn", "off"], BeforeValidator(as_switch)]
"""``drop`` takes the row out and lists it, ``warn`` keeps it and lists it, ``off`` does not look."""


class Rules(Section):
    """What happens to a row that breaks a rule: what is certainly garbage is dropped, what a person has to judge is kept."""

    exact_duplicate: Action = "drop"
    """The same row occurs before."""
    empty: Action = "drop"
    """A turn says nothing, or the answer holds no letter and no digit."""
    too_short: Action = "drop"
    """Question or answer is shorter than ``min_question_chars`` or ``min_answer_chars``."""
    too_long: Action = "drop"
    """The answer is longer than ``max_answer_chars``."""
    placeholder: Action = "drop"
    """Something was never filled in: ``{{name}}``, ``TODO``, ``待补充``, ``<your answer>``."""
    mojibake: Action = "drop"
    """Text was read in a wrong encoding."""
    repetition: Action = "drop"
    """One character, phrase or sentence fills more than ``max_repeated`` of the answer."""
    echo: Action = "drop"
    """The answer is the question."""
    special_token: Action = "drop"  # noqa: S105 - a token of text
    """A token of a chat template stands in the text: ``<|im_end|>``, ``[INST]``."""
    control_character: Action = "drop"
    """A character that steers a terminal stands in the text."""
    url_only: Action = "drop"
    """The answer is a link."""
    near_duplicate: Action = "warn"
    """Question and answer are nearly those of an earlier row."""
    same_answer: Action = "warn"
    """Different questions get nearly the same answer, ``same_answer_rows`` of them or more."""
    contradiction: Action = "warn"
    """Nearly the same question gets answers that do not agree."""
    fill_in: Action = "warn"
    """A blank that may be meant: ``[姓名]``, ``{name}``, ``XXX``."""
    wrong_language: Action = "warn"
    """The answer is in another script than the set's, or than that of ``language``."""
    cut_off: Action = "warn"
    """The answer stops in mid-sentence."""
    refusal: Action = "warn"
    """Another assistant speaks of itself or declines."""
    invisible_character: Action = "warn"
    """A character without width stands in the text."""
    html: Action = "warn"
    """A web page left tags or entities."""


class Columns(Section):
    """Keys of an object, or columns of a table, that cannot be guessed."""

    question: str | None = None
    """Holds the question; none guesses it by its name."""
    answer: str | None = None
    """Holds the answer; none guesses it by its name."""


class ValidationConfig(Section):
    """The contract that raw rows must keep."""

    user_roles: tuple[str, ...] = ("用户", "客户", "问", "Q", "User", "user", "Human", "human")
    """Words that open a question in dialogue text."""
    assistant_roles: tuple[str, ...] = ("律师", "客服", "医生", "助手", "答", "A", "Assistant", "assistant")
    """Words that open an answer in dialogue text."""
    columns: Columns = Columns()
    """Where question and answer stand in tables and JSON."""
    min_rows: PositiveInt = 20
    """Fewer usable rows than this stop the run."""
    min_question_chars: PositiveInt = 2
    """Shorter questions are dropped and listed."""
    min_answer_chars: PositiveInt = 5
    """Shorter answers are dropped and listed."""
    max_answer_chars: PositiveInt = 4000
    """Longer answers are dropped and listed, never cut."""
    max_dropped: float = Field(default=0.3, ge=0.0, le=1.0)
    """A larger share of dropped rows stops the run."""
    redact: tuple[PersonalKind, ...] = get_args(PersonalKind)
    """Kinds of personal data that become placeholders before anything else sees a row; ``[]`` redacts nothing."""
    same_row: float = Field(default=0.8, gt=0.0, le=1.0)
    """Texts that share this much of their 3-character pieces (Jaccard) say the same."""
    same_answer_rows: int = Field(default=3, ge=2)
    """So many different questions with the same answer are worth a look."""
    max_repeated: float = Field(default=0.5, gt=0.0, le=1.0)
    """Answers of which a larger share is one phrase again and again are garbage."""
    majority: float = Field(default=0.95, gt=0.5, le=1.0)
    """A habit that this share of the answers has is a habit of the set: its script, its closing punctuation."""
    language: Literal[
        "auto", "zh", "en", "ja", "ko", "de", "fr", "es", "it", "pt", "ru", "el", "ar", "he", "hi", "th"
    ] = "auto"
    """Language of the answers, told by its script; ``auto`` takes what the majority has."""
    rules: Rules = Rules()
    """What happens to a row that breaks a rule."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_answer_chars > self.max_answer_chars:
            raise ValueError(
                f"min_answer_chars ({self.min_answer_chars}) must not exceed max_answer_chars ({self.max_answer_chars})"
            )
        return self


class SplitConfig(Section):
    """Which rows are learnt from, which choose, and which only judge."""

    validation: float = Field(default=0.12, gt=0.0, lt=0.5)
    """Share of near-duplicate groups that choose settings and stop training."""
    test: float = Field(default=0.12, gt=0.0, lt=0.5)
    """Share of near-duplicate groups that only judge."""
    near_duplicate: float = Field(default=0.6, gt=0.0, le=1.0)
    """Rows whose questions or answers share this much of their 3-character pieces (Jaccard) stay together."""
    min_test_rows: PositiveInt = 10
    """Fewer test rows than this stop the run: nothing could be decided."""
    forgotten: tuple[Annotated[str, Field(pattern="^[0-9a-f]{16}$")], ...] = ()
    """Ids of rows that no adapter may learn any more, whatever the data says; `loramill forget` adds them."""
