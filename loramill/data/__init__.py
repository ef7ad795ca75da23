"""Reading, cleaning and splitting rows."""
