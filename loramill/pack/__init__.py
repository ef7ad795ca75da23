"""The pack: one frozen base, many adapters, one pass."""
