"""Benchmarks: CPU time per event, printed as JSON, repeatable by anyone. Never a timed test."""
