"""The story: order and nothing else."""
