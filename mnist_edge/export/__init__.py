"""Keras model → export folder."""
