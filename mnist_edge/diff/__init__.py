"""Two model files compared: operators, inputs and outputs, weights, and what they compute."""
