"""Optuna with transformers' Trainer and PEFT, one trial after the other, the base loaded anew for each as in Optuna's examples.

``contestant`` of the specification: ``sequential`` (no pruning), ``pruned`` (successive halving that fires), or
``hyperparameter_search`` (the Trainer's own).
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
import torch
from hf_trainer import collate
from measure import specification
from peft import LoraConfig, get_peft_model
from search_field import Field, Trace
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

from loramill.config import Settings
from loramill.prompts import Row


class Reporter(TrainerCallback):
    """Tells Optuna each epoch's loss, keeps the best, and prunes."""

    def __init__(self, trial: optuna.Trial, prunes: bool) -> None:
        self._trial, self._prunes = trial, prunes
        self.best = float("inf")
        self.steps = 0

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any) -> None:
        """Report; end the trial if the pruner says so."""
        self.best, self.steps = min(self.best, metrics["eval_loss"]), state.global_step
        self._trial.report(metrics["eval_loss"], round(state.epoch))
        if self._prunes and self._trial.should_prune():
            raise optuna.TrialPruned


def items(rows: list[Row]) -> list[dict[str, list[int]]]:
    """Return rows as the Trainer wants them; prompt tokens are not learnt."""
    return [
        {"input_ids": list(row.ids), "labels": [-100] * (len(row.ids) - row.targets) + list(row.ids)[-row.targets :]}
        for row in rows
    ]


def arguments(field: Field, folder: str, **more: Any) -> TrainingArguments:
    """Return what every trial is told."""
    steps = -(-len(field.train) // field.learning.batch) * field.config.epochs
    on_gpu = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=field.learning.batch,
        per_device_eval_batch_size=len(field.validation),  # one batch: the mean over its tokens is the loss
        num_train_epochs=field.config.epochs,
        lr_scheduler_type="cosine",
        warmup_steps=round(steps * field.learning.warmup),
        eval_strategy="epoch",
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        bf16=on_gpu,
        use_cpu=not on_gpu,
        seed=field.config.seed,
        **more,
    )


def model_of(field: Field, settings: Settings) -> Any:
    """Load the base and hang an adapter on it."""
    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    base = AutoModelForCausalLM.from_pretrained(field.folder, dtype=dtype)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=int(settings.alpha),
        lora_dropout=field.learning.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(base, config)


def one_by_one(field: Field, trace: Trace, folder: str, prunes: bool) -> None:
    """Optuna's loop around a Trainer."""

    def objective(trial: optuna.Trial) -> float:
        settings = field.space.ask(trial)
        reporter = Reporter(trial, prunes)
        trainer = Trainer(
            model=model_of(field, settings),
            args=arguments(field, folder, learning_rate=settings.learning_rate),
            train_dataset=items(field.train),
            eval_dataset=items(field.validation),
            data_collator=collate,
            callbacks=[reporter],
        )
        try:
            trainer.train()
        except optuna.TrialPruned:
            trace.ended(None, reporter.steps)
            raise
        trace.ended(reporter.best, reporter.steps)
        return reporter.best

    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=field.config.seed), pruner=pruner)
    study.optimize(objective, n_trials=field.config.trials)


def by_the_trainer(field: Field, trace: Trace, folder: str) -> None:
    """`Trainer.hyperparameter_search` as its documentation shows it."""

    def model_init(trial: optuna.Trial | None) -> Any:
        return model_of(field, Settings() if trial is None else field.space.ask(trial))

    def objective(metrics: dict[str, float]) -> float:
        trace.ended(metrics["eval_loss"], 0)
        return metrics["eval_loss"]

    trainer = Trainer(
        model=None,
        args=arguments(field, folder),
        train_dataset=items(field.train),
        eval_dataset=items(field.validation),
        data_collator=collate,
        model_init=model_init,
    )
    trainer.hyperparameter_search(
        hp_space=lambda trial: {"learning_rate": field.space.ask(trial).learning_rate},
        compute_objective=objective,
        n_trials=field.config.trials,
        direction="minimize",
        backend="optuna",
        sampler=optuna.samplers.TPESampler(seed=field.config.seed),
    )


def main() -> None:
    """Search once."""
    spec = specification()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    field = Field(spec)
    trace = Trace()
    with TemporaryDirectory(dir=Path(spec["splits"]).parent) as folder:
        if spec["contestant"] == "hyperparameter_search":
            by_the_trainer(field, trace, folder)
        else:
            one_by_one(field, trace, folder, spec["contestant"] == "pruned")
    trace.report(at=time.perf_counter())


if __name__ == "__main__":
    main()
