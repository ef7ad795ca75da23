"""transformers' Trainer with PEFT, as its documentation shows: padded batches, loss on the answer."""

import json
from pathlib import Path
from typing import Any

import torch
from measure import Stopwatch, specification
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainerCallback, TrainingArguments


class Timer(TrainerCallback):
    """Passes each step on to the stopwatch."""

    def __init__(self, watch: Stopwatch) -> None:
        self._watch = watch

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Time it."""
        self._watch.tick()

    def on_log(self, *_: Any, logs: dict[str, float] | None = None, **__: Any) -> None:
        """Keep the loss."""
        if logs and "loss" in logs:
            self._watch.losses.append(logs["loss"])


def arguments(spec: dict[str, Any]) -> dict[str, Any]:
    """What every Trainer of the contest is told."""
    on_gpu = torch.cuda.is_available()
    return {
        "output_dir": str(Path(spec["base"]).parent.parent / "out"),
        "per_device_train_batch_size": spec["batch"],
        "max_steps": spec["steps"],
        "learning_rate": spec["learning_rate"],
        "lr_scheduler_type": "cosine",
        "warmup_steps": spec["steps"] // 10,
        "logging_steps": 5,
        "save_strategy": "no",
        "report_to": [],
        "bf16": on_gpu,
        "use_cpu": not on_gpu,
        "seed": 0,
    }


def lora(spec: dict[str, Any]) -> LoraConfig:
    """The adapter that everybody trains."""
    return LoraConfig(
        r=spec["rank"],
        lora_alpha=2 * spec["rank"],
        lora_dropout=spec.get("dropout", 0.0),
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def encoded(spec: dict[str, Any], tokenizer: Any) -> list[dict[str, list[int]]]:
    """Render each row by the chat template; prompt tokens are not learnt."""
    rows = []
    for row in json.loads(Path(spec["rows_file"]).read_text(encoding="utf-8")):
        asked = [{"role": "user", "content": row["instruction"]}]
        prompt = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        prompt_ids = tokenizer.encode(prompt, add_special_tokens=False)
        answer_ids = tokenizer.encode(row["output"] + tokenizer.eos_token, add_special_tokens=False)
        rows.append({"input_ids": prompt_ids + answer_ids, "labels": [-100] * len(prompt_ids) + answer_ids})
    return rows


def collate(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Pad to the longest row of the batch."""
    longest = max(len(row["input_ids"]) for row in rows)

    def padded(key: str, fill: int) -> torch.Tensor:
        return torch.tensor([row[key] + [fill] * (longest - len(row[key])) for row in rows])

    mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows])
    return {"input_ids": padded("input_ids", 0), "labels": padded("labels", -100), "attention_mask": mask}


def main() -> None:
    """Train one adapter."""
    spec = specification()
    tokenizer = AutoTokenizer.from_pretrained(spec["base"])
    tokenizer.eos_token = spec.get("stop_token") or tokenizer.eos_token
    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(spec["base"], dtype=dtype), lora(spec))
    watch = Stopwatch(spec["warm"], spec["steps"])
    trainer = Trainer(
        model=model,
        args=TrainingArguments(**arguments(spec), remove_unused_columns=False),
        train_dataset=encoded(spec, tokenizer),
        data_collator=collate,
        callbacks=[Timer(watch)],
    )
    trainer.train()
    watch.report()


if __name__ == "__main__":
    main()
