"""loramill: question-and-answer rows in, proven LoRA adapters out."""

__version__ = "0.1.0"
