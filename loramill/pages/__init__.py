"""Pages that people open: one self-contained file each, one look for all rooms, nothing fetched."""
