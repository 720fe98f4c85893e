"""Take a digit classifier from Keras to the edge, and prove that it got there whole."""

__version__ = "0.1.0"
