"""The recipes of the `edge` family: a few thousand parameters, trained on varied images, quantization-aware."""

from mnist_edge.training.augmentation import Augmentation
from mnist_edge.training.recipe import AugmentedTraining, Conv, Recipe

SLIGHT = Augmentation(turn=8, scale=0.06, stretch=0.04, shear=0.10, move=0.5, bend=0.5)
STRONG = Augmentation(turn=10, scale=0.08, stretch=0.06, shear=0.15, move=0.7, bend=1.0, stroke=0.4)


def _convs(*filters: int) -> tuple[Conv, ...]:
    """Return five 3×3 convolutions, over images of 14, 14, 14, 7 and 3 pixels."""
    strides, paddings = (2, 1, 1, 2, 2), ("same", "same", "same", "same", "valid")
    return tuple(Conv(*item, norm=True) for item in zip(filters, (3,) * 5, strides, paddings, strict=True))


def _recipe(name: str, filters: tuple[int, ...], epochs: int, floor: float, training: AugmentedTraining) -> Recipe:
    return Recipe(
        name=name,
        convs=_convs(*filters),
        hidden=None,
        dropout=0.0,
        optimizer="adamw",
        one_hot=True,
        validation=1 / 12,
        random_state=0,
        batch_size=128,
        epochs=epochs,
        floor=floor,
        augmented=training,
    )


EDGE = {
    recipe.name: recipe
    for recipe in (
        _recipe("edge-micro", (3, 4, 4, 4, 4), 60, 0.98, AugmentedTraining(1.5e-2, 1e-4, SLIGHT)),
        _recipe("edge-nano", (3, 4, 3, 10, 8), 50, 0.985, AugmentedTraining(1.2e-2, 1e-4, SLIGHT)),
        _recipe("edge-small", (6, 8, 8, 10, 12), 60, 0.99, AugmentedTraining(1e-2, 1e-4, STRONG)),
        _recipe("edge", (8, 16, 16, 24, 24), 60, 0.993, AugmentedTraining(6e-3, 1e-4, STRONG, 3000, 1500)),
    )
}
