"""The one training loop and what it needs: batches in, progress and weights out."""
