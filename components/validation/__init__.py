"""What must be true of data before anything learns from them, and the report that shows it."""
