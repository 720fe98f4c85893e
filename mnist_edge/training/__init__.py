"""Recipes, and the trainer that turns one into a stored Keras model."""
