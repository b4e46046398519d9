"""What surrounds the chain of a retraining: data that arrive, what is new in them, the report."""
