"""Metrics with intervals, paired tests, calibration, slices: numpy in, numbers out, no torch."""
