"""The order of examples and the batches made of them: pure functions of seed and epoch."""
