"""TRL's SFTTrainer with its defaults for prompt and completion."""

import json
from pathlib import Path

import torch
from datasets import Dataset
from hf_trainer import Timer, arguments, lora
from measure import Stopwatch, specification
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer


def main() -> None:
    """Train one adapter."""
    spec = specification()
    rows = json.loads(Path(spec["rows_file"]).read_text(encoding="utf-8"))
    talks = [
        {
            "prompt": [{"role": "user", "content": row["instruction"]}],
            "completion": [{"role": "assistant", "content": row["output"]}],
        }
        for row in rows
    ]
    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    watch = Stopwatch(spec["warm"], spec["steps"])
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(spec["base"], dtype=dtype),
        args=SFTConfig(**arguments(spec), max_length=2048, gradient_checkpointing=False),
        train_dataset=Dataset.from_list(talks),
        processing_class=AutoTokenizer.from_pretrained(spec["base"]),
        peft_config=lora(spec),
        callbacks=[Timer(watch)],
    )
    trainer.train()
    watch.report()


if __name__ == "__main__":
    main()
