"""Datasets: where they come from, how they are stored, how they are split."""
