"""Finding settings: Optuna proposes, a pack tries."""
