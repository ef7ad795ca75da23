"""Talking to adapters."""
