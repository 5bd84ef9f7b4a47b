"""Evaluation on held-out clips: metrics, baselines, benchmarks, fitted time grids, reports."""
