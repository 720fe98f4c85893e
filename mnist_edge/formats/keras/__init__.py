"""Keras's own `.keras` file."""

from mnist_edge.formats.keras.model import FORMAT as FORMAT
