"""One step per file: where files, tracking and orchestration meet the library."""
