"""The measurements that the documentation quotes; each is one command: ``python -m benchmarks.<name>``."""
