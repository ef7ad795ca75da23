"""What the project's makers run now and then; no run of the pipeline needs it."""
