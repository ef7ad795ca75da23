"""The plan: what ``conf/`` may say, typed and frozen; a misspelt key is an error.

A domain's plan is ``conf/default.yaml``, over it the file of its base model in ``conf/bases/``, over it ``conf/<domain>.yaml``.
There is no other inheritance. `SECTIONS` maps each step to its section: pydantic reserves the name ``validate``.
"""

from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from loramill.errors import ConfigError

SECTIONS = {
    "validate": "validation",
    "split": "split",
    "search": "search",
    "train": "train",
    "evaluate": "evaluate",
    "promote": "promote",
}
"""Step -> its section in ``conf/``; the order is the story's."""


class Section(BaseModel):
    """A frozen group of settings in which a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Base(Section):
    """The frozen base model that adapters are trained on and served with."""

    source: str = "embedded"
    """``embedded`` (made here, no network), a local folder, or a hub id."""
    revision: str | None = None
    """Hub revision to pin; none takes the newest."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """``auto`` takes CUDA, then Apple, then the CPU."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """``auto`` is bfloat16 on CUDA and float32 elsewhere."""
    cache: Path = Path("artifacts/bases")
    """Folder in which the embedded base is kept."""
    trust_remote_code: bool = False
    """Run Python code that the model's folder brings along. Only for sources whose code you read."""
    stop_token: str | None = None
    """Token that ends an answer, where the tokenizer's own eos is another one than the chat template writes."""
    template: dict[str, bool | str] = Field(default_factory=dict)
    """Arguments for the base's chat template, the same in training and serving."""


class ValidationConfig(Section):
    """The contract that raw rows must keep."""

    user_roles: tuple[str, ...] = ("用户", "客户", "问", "Q", "User", "user", "Human", "human")
    """Words that open a question in dialogue text."""
    assistant_roles: tuple[str, ...] = ("律师", "客服", "答", "A", "Assistant", "assistant")
    """Words that open an answer in dialogue text."""
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


class LearningConfig(Section):
    """What the training of every adapter has in common, in ``search`` and ``train`` alike."""

    dropout: float = Field(default=0.05, ge=0.0, lt=1.0)
    """Share of inputs to the adapter that are zeroed in training."""
    target_modules: tuple[str, ...] = ("all-linear",)
    """Linear layers that get an adapter, by the end of their name; ``all-linear`` takes every one but the head."""
    batch: PositiveInt = 8
    """Rows per optimizer step."""
    max_tokens: PositiveInt = 1024
    """Longest row, prompt and answer; longer rows stop the run by name instead of being cut."""
    tokens_per_pass: PositiveInt = 16384
    """Tokens in one forward pass; a larger step is split with an identical loss."""
    warmup: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of the steps in which the rate rises."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the rate falls after warm-up."""
    weight_decay: NonNegativeFloat = 0.0
    """AdamW's decoupled decay."""
    clip: PositiveFloat = 1.0
    """Largest norm of the adapter's gradient."""


class Settings(Section):
    """What the search decides and the training obeys."""

    rank: PositiveInt = 8
    """LoRA rank."""
    alpha_ratio: PositiveFloat = 2.0
    """alpha / rank: the adapter's part is scaled by it."""
    learning_rate: PositiveFloat = 5.0e-3
    """Peak rate, reached at the end of warm-up."""

    @property
    def alpha(self) -> float:
        """LoRA's alpha."""
        return self.alpha_ratio * self.rank


class LearningRates(Section):
    """A range of learning rates, searched on a logarithmic scale."""

    low: PositiveFloat = 2.0e-3
    """Smallest rate tried."""
    high: PositiveFloat = 2.0e-2
    """Largest rate tried."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) must not exceed high ({self.high})")
        return self


class SearchConfig(Section):
    """How rank, alpha and learning rate are found."""

    trials: NonNegativeInt = 8
    """Settings to try; 0 searches nothing and takes ``fixed``."""
    fixed: Settings = Settings()
    """What is taken without a search."""
    pack: PositiveInt = 4
    """Trials trained at once on the one base."""
    epochs: PositiveInt = 2
    """Epochs of a trial that is not pruned."""
    rank: tuple[PositiveInt, ...] = Field(default=(4, 8, 16), min_length=1)
    """Ranks tried."""
    alpha_ratio: tuple[PositiveFloat, ...] = Field(default=(1.0, 2.0), min_length=1)
    """alpha / rank tried."""
    learning_rate: LearningRates = LearningRates()
    """Learning rates tried."""
    renew_above: float = Field(default=0.2, ge=0.0, le=1.0)
    """Search again when more than this share of the training rows is new; below it the old settings stay."""
    seed: NonNegativeInt = 7
    """Seed of the proposals and of every trial."""


class TrainConfig(Section):
    """How the one adapter that may be promoted is trained."""

    epochs: PositiveInt = 8
    """Passes over the training rows at most."""
    patience: PositiveInt = 3
    """Epochs without a better validation loss before training stops; the best adapter is kept, never just the last."""
    save_steps: PositiveInt = 10
    """Steps between checkpoints."""
    start_from: str = "last"
    """``last`` continues from the domain's last adapter when only its rows changed; ``scratch`` never; or an adapter folder."""
    seed: NonNegativeInt = 7
    """Seed of the adapter's first weights, of the order of rows and of dropout."""


class EvaluateConfig(Section):
    """How base, champion and challenger are compared on the test rows."""

    significance: float = Field(default=0.05, gt=0.0, lt=0.5)
    """A difference that chance alone makes more often than this is called not proven."""
    answers: NonNegativeInt = 6
    """Test questions answered in full, side by side."""
    max_new_tokens: PositiveInt = 160
    """Longest generated answer."""


class PromoteConfig(Section):
    """When the champion changes."""

    over_base: Literal["better", "not worse"] = "better"
    """What the test rows must prove against the bare base."""
    over_champion: Literal["better", "not worse"] = "better"
    """What the test rows must prove against the champion in service."""


class Plan(Section):
    """Everything that one domain's run obeys."""

    base: Base = Base()
    validation: ValidationConfig = ValidationConfig()
    split: SplitConfig = SplitConfig()
    learning: LearningConfig = LearningConfig()
    search: SearchConfig = SearchConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    promote: PromoteConfig = PromoteConfig()


def domains(conf: Path = Path("conf")) -> list[str]:
    """Return the names of all domains: the files of ``conf/`` other than ``default.yaml``."""
    return sorted(path.stem for path in conf.glob("*.yaml") if path.stem != "default")


def domain_file(domain: str, conf: Path = Path("conf")) -> Path:
    """Return ``conf/<domain>.yaml``.

    Raises:
        ConfigError: there is no such domain.
    """
    if domain not in domains(conf):
        known = ", ".join(domains(conf)) or "none yet"
        raise ConfigError(
            f"unknown domain {domain!r}: a domain is a file conf/<name>.yaml (there are: {known}). "
            f"Make it with `loramill new {domain}`."
        )
    return conf / f"{domain}.yaml"


def load_plan(path: Path, conf: Path | None = None) -> Plan:
    """Read a domain's file over its base's file over ``default.yaml``.

    Args:
        path: the domain's file.
        conf: the folder with ``default.yaml`` and ``bases/``; the domain file's own folder if not given.

    Raises:
        ConfigError: all wrong keys and values at once.
    """
    conf = conf or path.parent
    domain, default = read_yaml(path), read_yaml(conf / "default.yaml")
    name = domain.get("base", default.get("base", "embedded"))
    layers = [_without_base(default), *_base_layers(name, conf), _without_base(domain)]
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _over(merged, layer)
    return parse_plan(merged, str(path))


def parse_plan(content: dict[str, Any], origin: str) -> Plan:
    """Turn plain values into a `Plan`.

    Raises:
        ConfigError: every wrong key and value, with ``origin``.
    """
    try:
        return Plan.model_validate(content)
    except ValidationError as error:
        problems = "\n".join(f"  {_problem(detail)}" for detail in error.errors())
        raise ConfigError(f"{origin}: {error.error_count()} wrong\n{problems}") from error


def read_settings(path: Path) -> Settings:
    """Read what the search left.

    Raises:
        ConfigError: the file is missing or holds something else.
    """
    try:
        return Settings.model_validate(read_yaml(path))
    except ValidationError as error:
        raise ConfigError(f"{str(path)!r} cannot be used ({error}); delete it and search again") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a mapping from a YAML file.

    Raises:
        ConfigError: the file is missing, unreadable, or no mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {str(path)!r}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{str(path)!r} is not valid YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{str(path)!r} must hold `key: value` lines, it holds a {type(content).__name__}")
    return content


def _base_layers(base: object, conf: Path) -> list[dict[str, Any]]:
    """Return what stands behind ``base:``: one word, or a mapping with ``source`` and what differs from its file."""
    own = base if isinstance(base, dict) else {"source": base}
    name = own.get("source")
    if not isinstance(name, str):
        raise ConfigError(f"base must be a name in conf/bases/, a folder or a hub id, got {base!r}")
    differs = {"base": {key: value for key, value in own.items() if key != "source"}}
    path = conf / "bases" / f"{name}.yaml"
    if not path.is_file():
        return [{"base": {"source": name}}, differs]
    content = read_yaml(path)
    known = sorted({*Base.model_fields, *Plan.model_fields} - {"base"})
    unknown = [f"  {key}: unknown key; allowed here: {', '.join(known)}" for key in content if key not in known]
    if unknown:
        raise ConfigError(f"{path}: {len(unknown)} wrong\n" + "\n".join(unknown))
    facts = {key: content[key] for key in content if key in Base.model_fields}
    sections = {key: content[key] for key in content if key not in Base.model_fields}
    return [{"base": facts, **sections}, differs]


def _without_base(layer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in layer.items() if key != "base"}


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return ``below`` with the values of ``above`` on top; mappings merge, everything else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _over(merged[key], value)
        elif value is not None or key not in merged:
            merged[key] = {} if value is None else value
    return merged


def _problem(detail: Any) -> str:
    place = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"{place}: unknown key; allowed here: {', '.join(_allowed(detail['loc'][:-1]))}"
    return f"{place}: {detail['msg']}, got {detail['input']!r}"


def _allowed(place: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Plan
    for part in place:
        inner = model.model_fields[str(part)].annotation
        assert isinstance(inner, type)
        assert issubclass(inner, BaseModel)
        model = inner
    return sorted(model.model_fields)
