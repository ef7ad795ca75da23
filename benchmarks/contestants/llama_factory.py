"""LLaMA-Factory's own entry point, told by the options of its YAML files."""

from pathlib import Path

import torch
from hf_trainer import Timer
from llamafactory.train.tuner import run_exp
from measure import Stopwatch, specification


def main() -> None:
    """Train one adapter."""
    spec = specification()
    watch = Stopwatch(spec["warm"], spec["steps"])
    on_gpu = torch.cuda.is_available()
    options = {
        "model_name_or_path": spec["base"],
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": spec["rank"],
        "lora_alpha": 2 * spec["rank"],
        "lora_dropout": 0.0,
        "lora_target": "all",
        "dataset": "rows",
        "dataset_dir": str(Path(spec["rows_file"]).parent),
        "template": "qwen",
        "cutoff_len": 2048,
        "output_dir": str(Path(spec["base"]).parent.parent / "out-llamafactory"),
        "overwrite_output_dir": True,
        "per_device_train_batch_size": spec["batch"],
        "max_steps": spec["steps"],
        "learning_rate": spec["learning_rate"],
        "lr_scheduler_type": "cosine",
        "logging_steps": 5,
        "save_strategy": "no",
        "report_to": "none",
        "bf16": on_gpu,
        "gradient_checkpointing": False,
        "disable_gradient_checkpointing": True,
        "use_cpu": not on_gpu,
        "preprocessing_num_workers": 1,
    }
    run_exp(options, callbacks=[Timer(watch)])
    watch.report()


if __name__ == "__main__":
    main()
