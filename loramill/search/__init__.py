"""Finding settings: Optuna proposes, packs try, statistics judge; every decision follows from what was recorded."""
