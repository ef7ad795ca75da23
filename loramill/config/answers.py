"""What ``conf/`` may say about answers: rules that a domain expert writes, and how answers are put to the test."""

from typing import TYPE_CHECKING, Annotated, Final, Self

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from loramill.config.section import Section

if TYPE_CHECKING:
    import regex

LONGEST_PATTERN: Final = 1000
"""Characters of a pattern; a longer one is a program, not a rule."""


def _as_list(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Patterns = Annotated[tuple[str, ...], BeforeValidator(_as_list)]
"""Words as they are, or a regular expression between slashes; of several, any one counts."""


def compile_pattern(pattern: str) -> "regex.Pattern[str]":
    """Return a pattern that finds words, capital or small, or what a regular expression between slashes says.

    Raises:
        ValueError: it is empty, too long or no regular expression; the message quotes it and says where.
    """
    import regex

    is_expression = len(pattern) > 1 and pattern[0] == pattern[-1] == "/"
    inner = pattern[1:-1] if is_expression else pattern
    if not inner.strip() or len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"pattern {pattern[:40]!r} has {len(pattern)} characters; write 1 to {LONGEST_PATTERN}")
    try:
        return regex.compile(inner if is_expression else regex.escape(inner), regex.IGNORECASE)
    except regex.error as error:
        where = f" at character {error.pos + 2}" if error.pos is not None else ""
        raise ValueError(f"pattern {pattern!r} is no regular expression: {error.msg}{where}") from error


class AnswerRule(Section):
    """Something that every answer of a domain has to do, or must never do; docs/evaluation.md has examples."""

    name: str = Field(min_length=1)
    """How reports call the rule."""
    name_zh: str | None = Field(default=None, min_length=1)
    """How the Chinese side of a page calls it; none takes ``name``."""
    reason: str = Field(min_length=1)
    """Why it is there: read by whoever sees an answer fail."""
    reason_zh: str | None = Field(default=None, min_length=1)
    """The same for the Chinese side; none takes ``reason``."""
    when: Patterns = ()
    """The rule concerns only questions in which one of these stands; empty concerns all."""
    must: Patterns = ()
    """One of these has to stand in the answer."""
    before: Patterns = ()
    """What ``must`` asks for has to stand before any of these."""
    must_not: Patterns = ()
    """None of these may stand in the answer."""
    from_question: Patterns = ()
    """Whatever of the answer matches has to stand in the conversation before it: numbers that nobody gave are invented."""
    cites: str | None = None
    """Table of laws and their articles, from the folder of the project: what is cited has to exist there."""
    weight: PositiveFloat = 1.0
    """How much the rule counts in a row's share of kept rules."""

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if not (self.must or self.must_not or self.from_question or self.cites):
            raise ValueError(f"rule {self.name!r} asks for nothing; write must, must_not, from_question or cites")
        if self.before and not self.must:
            raise ValueError(f"rule {self.name!r} says `before` without `must`: what has to come first?")
        return self

    @model_validator(mode="after")
    def _patterns_can_be_read(self) -> Self:
        for field in ("when", "must", "before", "must_not", "from_question"):
            for pattern in getattr(self, field):
                try:
                    compile_pattern(pattern)
                except ValueError as error:
                    raise ValueError(f"rule {self.name!r}, {field}: {error}") from error
        return self


class RecitationConfig(Section):
    """How an adapter is asked whether it knows its training rows by heart."""

    questions: NonNegativeInt = 20
    """Training questions asked; 0 asks none."""
    characters: PositiveInt = 30
    """A passage of so many characters (three times as many in Latin script) is not written alike by chance."""
    share: float = Field(default=0.1, ge=0.0, lt=1.0)
    """An adapter recites if a larger share of its answers does."""


class JudgeConfig(Section):
    """A model behind an OpenAI-compatible address that compares answers; its key stands in ``LORAMILL_JUDGE_KEY``."""

    url: str | None = None
    """Address up to ``/v1``; none asks nobody. Questions and answers of the test rows are sent there."""
    model: str | None = None
    """The model's name there."""
    pairs: PositiveInt = 20
    """Questions whose answers are compared, each in both orders."""
    seconds: PositiveFloat = 30.0
    """How long one reply may take."""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.url is None) != (self.model is None):
            raise ValueError(f"judge needs url and model, or neither; got url {self.url!r} and model {self.model!r}")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"judge.url must begin with http:// or https://, got {self.url!r}")
        return self
