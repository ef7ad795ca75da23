"""Prove what will be learnt before anything is trained: no weights, no accelerator, seconds."""
