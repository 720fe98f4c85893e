"""All recipes by name."""

from mnist_edge.core.errors import ModelError
from mnist_edge.training.edge import EDGE
from mnist_edge.training.notebooks import NOTEBOOKS
from mnist_edge.training.recipe import Recipe

RECIPES = {**NOTEBOOKS, **EDGE}


def find_recipe(name: str) -> Recipe:
    """Return the recipe of a name. Raises ModelError with the names there are."""
    if name not in RECIPES:
        raise ModelError(f"there is no model {name!r}. Choose one of {', '.join(RECIPES)} (see mnist-edge models).")
    return RECIPES[name]
