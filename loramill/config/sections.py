"""What ``conf/`` may say: every knob, typed and frozen; a misspelt key is an error. Rows have a file of their own."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from loramill.config.answers import AnswerRule, JudgeConfig, RecitationConfig
from loramill.config.rows import SplitConfig, ValidationConfig
from loramill.config.section import Section, as_switch

Method = Literal["lora", "rslora", "dora", "pissa", "olora", "eva", "lora-plus", "qlora", "adalora", "ia3", "prefix"]
"""Methods of adaptation."""


class Base(Section):
    """The frozen base model that adapters are trained on and served with."""

    source: str = "embedded"
    """``embedded`` (comes with loramill), ``one-minute`` (made here), a local folder, or a hub id."""
    revision: str | None = None
    """Hub revision to pin, none takes the newest; of the embedded base, the digest that it must have."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """``auto`` takes CUDA, then Apple, then the CPU."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """``auto`` is bfloat16 on CUDA and float32 elsewhere."""
    cache: Path = Path("artifacts/bases")
    """Folder in which the one-minute base is kept."""
    four_bit: bool = False
    """Hold the weights in 4 bits (NF4; CUDA and the package bitsandbytes); ``learning.method: qlora`` says it for you."""
    trust_remote_code: bool = False
    """Run Python code that the model's folder brings along. Only for sources whose code you read."""
    processes: PositiveInt = 1
    """Processes that share each training, one per card: docs/several-gpus.md."""
    split: bool = False
    """Give each process only a part of the base's layers, for a base that no card can hold alone."""
    stop_token: str | None = None
    """Token that ends an answer, where the tokenizer's own eos is another one than the chat template writes."""
    template: dict[str, bool | str] = Field(default_factory=dict)
    """Arguments for the base's chat template, the same in training and serving."""


class LearningConfig(Section):
    """What the training of every adapter has in common, in ``search`` and ``train`` alike."""

    method: Method = "lora"
    """How the base is adapted; docs/methods.md says what each word means and what it costs."""
    dropout: float = Field(default=0.05, ge=0.0, lt=1.0)
    """Share of inputs to the adapter that are zeroed in training."""
    target_modules: tuple[str, ...] = ("all-linear",)
    """Linear layers that get an adapter, by the end of their name; ``all-linear`` takes every one but the head."""
    batch: PositiveInt = 8
    """Rows per optimizer step."""
    max_tokens: PositiveInt = 1024
    """Longest row, prompt and answer; longer rows stop the run by name instead of being cut."""
    tokens_per_pass: PositiveInt = 16384
    """Tokens in one forward pass at most; a larger step, or one that memory cannot hold, is split with an identical loss."""
    gradient_checkpointing: Annotated[Literal["auto", "on", "off"], BeforeValidator(as_switch)] = "auto"
    """Keep little of the forward pass and compute it again: half as much work again. ``auto`` where memory asks for it."""
    memory_gib: PositiveFloat | None = None
    """Most memory that training may take, the base included; none takes what is free."""
    warmup: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of the steps in which the rate rises."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the rate falls after warm-up."""
    weight_decay: NonNegativeFloat = 0.0
    """AdamW's decoupled decay."""
    clip: PositiveFloat = 1.0
    """Largest norm of the adapter's gradient."""

    @property
    def memory_bytes(self) -> int | None:
        """``memory_gib`` in bytes."""
        return None if self.memory_gib is None else int(self.memory_gib * 2**30)

    @model_validator(mode="after")
    def _carried_weights_stay(self) -> Self:
        if self.method in ("pissa", "olora") and self.weight_decay:
            raise ValueError(
                f"{self.method} carries weights that must not decay: weight_decay is {self.weight_decay}, set 0"
            )
        return self


class Settings(Section):
    """What the search decides and the training obeys."""

    rank: PositiveInt = 8
    """LoRA rank."""
    alpha_ratio: PositiveFloat = 2.0
    """alpha / rank: the adapter's part is scaled by it."""
    learning_rate: PositiveFloat = 5.0e-3
    """Peak rate, reached at the end of warm-up."""
    dropout: float | None = Field(default=None, ge=0.0, lt=1.0)
    """In place of ``learning.dropout``."""
    target_modules: tuple[str, ...] | None = Field(default=None, min_length=1)
    """In place of ``learning.target_modules``."""
    method: Method | None = None
    """In place of ``learning.method``."""
    epochs: PositiveInt | None = None
    """In place of ``train.epochs``."""

    @property
    def alpha(self) -> float:
        """LoRA's alpha."""
        return self.alpha_ratio * self.rank

    def over(self, learning: LearningConfig) -> LearningConfig:
        """Return ``learning`` with what these settings say instead."""
        own = {key: getattr(self, key) for key in ("dropout", "target_modules", "method")}
        return learning.model_copy(update={key: value for key, value in own.items() if value is not None})


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


Modules = Literal["all-linear", "attention"] | Annotated[tuple[str, ...], Field(min_length=1)]
"""Layers that get an adapter: every linear one but the head, those of the attention, or a list of names."""

PRESETS: dict[str, tuple[int, ...]] = {"tone": (4, 8), "terminology": (8, 16), "reasoning": (16, 32)}
"""Ranks that suit what a domain has to learn."""


class Limits(Section):
    """What the server that the adapter will run in can load; nothing else is tried."""

    max_rank: PositiveInt | None = None
    """Largest rank, as exported; none allows every rank."""
    modules: tuple[str, ...] = ()
    """Names of the layers that may carry an adapter; empty allows all."""


class SearchConfig(Section):
    """How settings are found; docs/search.md says what each decision rests on."""

    trials: NonNegativeInt = 8
    """Settings to try at most; 0 searches nothing and takes ``fixed``."""
    minutes: PositiveFloat | None = None
    """After so long no further trial begins; none leaves it to ``trials``."""
    fixed: Settings = Settings()
    """What is taken without a search."""
    sampler: Literal["tpe", "gp", "cmaes", "random", "grid"] = "tpe"
    """Who proposes."""
    pruner: Literal["none", "halving", "hyperband"] = "halving"
    """Who ends trials that have no chance, after 1, 2 and 4 eighths of their steps."""
    lag: PositiveInt = 4
    """A proposal knows the trials that are so many numbers older: their first check, or their end where nothing is pruned. So
    many can be new at once, whatever the pack; the pruner compares four times as many with each other."""
    pack: PositiveInt = 4
    """Members trained at once on the one base: trials, folds and repeats. It changes the time, never the result."""
    folds: PositiveInt = 1
    """1 judges on the validation rows; more cross-validate over training and validation rows, a member for each fold."""
    repeats: NonNegativeInt = 0
    """Fresh seeds with which the winner is trained again at every rank, beside the runner-up; 0 trusts single runs."""
    epochs: PositiveInt = 2
    """Epochs of a trial that is not pruned."""
    epoch_choices: tuple[PositiveInt, ...] = ()
    """Epochs to choose from instead; the winner's number goes into the training."""
    preset: Literal["tone", "terminology", "reasoning"] | None = None
    """Ranks by what is to be learnt: 4 and 8, 8 and 16, or 16 and 32; it goes before ``rank``."""
    rank: tuple[PositiveInt, ...] = Field(default=(4, 8, 16), min_length=1)
    """Ranks tried."""
    alpha_ratio: tuple[PositiveFloat, ...] = Field(default=(1.0, 2.0), min_length=1)
    """alpha / rank tried."""
    learning_rate: LearningRates = LearningRates()
    """Learning rates tried at rank 8 and batch 8; others get this times sqrt(batch / rank)."""
    dropout: tuple[Annotated[float, Field(ge=0.0, lt=1.0)], ...] = ()
    """Dropouts tried; empty obeys ``learning.dropout``."""
    modules: tuple[Modules, ...] = ()
    """Layers tried; empty obeys ``learning.target_modules``."""
    method: tuple[Literal["lora", "rslora", "dora", "pissa", "olora", "eva", "lora-plus"], ...] = ()
    """Methods tried; empty obeys ``learning.method``."""
    limits: Limits = Limits()
    """What the server can load."""
    storage: str | None = None
    """Database that several workers share (``postgresql://host/name``); none is a file. A password belongs into the
    environment: ``LORAMILL_STUDY_STORAGE`` holds the whole address and goes before this one."""
    takeover_seconds: PositiveFloat = 60.0
    """A worker of which nothing was heard for so long is taken for dead, and others continue its trials."""
    near_duplicate: float = Field(default=0.6, gt=0.0, le=1.0)
    """Rows more alike than this stay in one fold and count as one observation."""
    renew_above: float = Field(default=0.2, ge=0.0, le=1.0)
    """Search again when more than this share of the training rows is new; below it the old settings stay."""
    seed: NonNegativeInt = 7
    """Seed of the proposals and of every trial."""

    @model_validator(mode="before")
    @classmethod
    def _preset_names_ranks(cls, values: Any) -> Any:
        named = values.get("preset") if isinstance(values, dict) else None
        return values | {"rank": PRESETS[named]} if named in PRESETS else values

    @model_validator(mode="after")
    def _can_be_served(self) -> Self:
        cap = self.limits.max_rank
        if cap is not None and (large := [rank for rank in (*self.rank, self.fixed.rank) if rank > cap]):
            raise ValueError(
                f"rank {max(large)} exceeds limits.max_rank ({cap}): the server cannot load it; leave it out"
            )
        if self.folds > 1 and not self.trials:
            raise ValueError(f"folds is {self.folds}, but trials is 0: nothing is searched; set folds to 1")
        if self.storage and re.search(r"://[^/@]*:[^/@]*@", self.storage):
            raise ValueError("storage holds a password; put the whole address into LORAMILL_STUDY_STORAGE instead")
        return self


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
    probes: NonNegativeInt = 2
    """Validation questions that are answered again and again while it learns, to watch the style arrive; 0 asks none."""
    probe_steps: NonNegativeInt = 50
    """Steps between those answers; 0 asks none."""
    tensorboard: bool = True
    """Write event files for TensorBoard beside what MLflow is told."""


class EvaluateConfig(Section):
    """How base, champion and challenger are compared on the test rows."""

    significance: float = Field(default=0.05, gt=0.0, lt=0.5)
    """A difference that chance alone makes more often than this is called not proven."""
    answers: NonNegativeInt = 60
    """Test questions answered in full by every model; all but the loss is measured on these."""
    max_new_tokens: PositiveInt = 160
    """Longest generated answer."""
    exact_characters: NonNegativeInt = 12
    """A reference of at most so many characters is a label or a value: the answer should be the same; 0 asks it of none."""
    rules: tuple[AnswerRule, ...] = ()
    """What every answer has to do, or must never do."""
    recitation: RecitationConfig = RecitationConfig()
    """Whether training answers are known by heart."""
    rewordings: NonNegativeInt = 6
    """Test questions that are asked again in other words, to see whether the answers agree; 0 asks none."""
    forgetting: PositiveFloat = 0.5
    """Nats per token by which the loss on everyday questions may rise above the base's."""
    judge: JudgeConfig = JudgeConfig()
    """A second opinion from a larger model; off unless it has an address."""


class PromoteConfig(Section):
    """When the champion changes."""

    over_base: Literal["better", "not worse"] = "better"
    """What the test rows must prove against the bare base."""
    over_champion: Literal["better", "not worse"] = "better"
    """What the test rows must prove against the champion in service."""
    no_worse: tuple[Literal["loss", "chrf", "rouge_l", "rules"], ...] = ("loss", "chrf", "rouge_l", "rules")
    """Measures of which none may drop against the champion or, without one, the base."""
    harm: float = Field(default=0.05, gt=0.0, lt=0.5)
    """Chance of seeing such a drop where there is none, over all of them together."""
    min_rules: float | None = Field(default=None, ge=0.0, le=1.0)
    """Least share of answers that keep every rule of the domain; none does not ask."""
    forgetting: bool = True
    """Whether the loss on everyday questions must stay within ``evaluate.forgetting``."""
    recitation: bool = True
    """Whether training answers, or personal data in them, said by heart keep an adapter from serving."""
    unmeasured: Literal["pass", "fail"] = "pass"
    """What a gate says that has no figure."""
    approval: Literal["none", "person"] = "none"
    """``person``: passing every gate is not enough, `loramill approve` has the last word."""


class NightlyConfig(Section):
    """What a night may do without being asked; docs/nightly.md."""

    minutes: PositiveFloat | None = None
    """So many minutes after the night began this domain's training ends, and its best so far is kept; none lets it finish."""
    least_rows: PositiveInt = 1
    """Fewer training rows that are new, changed or gone are not worth a training."""
    replay: NonNegativeFloat = 4.0
    """Old rows repeated for each new one while a training goes on from the champion."""


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
    nightly: NightlyConfig = NightlyConfig()
