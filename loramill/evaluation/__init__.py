"""Scores, verdicts and what a person is told."""
