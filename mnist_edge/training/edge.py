"""The recipes of the `edge` family: a few thousand parameters, trained on varied images, quantization-aware."""

from mnist_edge.training.augmentation import Augmentation
from mnist_edge.training.recipe import AugmentedTraining, Conv, Recipe, Teacher

AFFINE = Augmentation(turn=10, scale=0.08, stretch=0.06, shear=0.15, move=0.7)
WIDE = Augmentation(turn=20, scale=0.16, stretch=0.12, shear=0.3, move=1.3)
BENT = Augmentation(turn=10, scale=0.08, stretch=0.06, shear=0.15, move=0.7, bend=1.0, stroke=0.4)

STRONG = Augmentation(turn=15, scale=0.12, stretch=0.09, shear=0.22, move=1.0, bend=1.0, stroke=0.4)

TEACHER = Teacher(width=2, epochs=0.4, share=0.7, temperature=2.0)


def _convs(*layers: tuple[int, int, int, str]) -> tuple[Conv, ...]:
    """Return convolutions with BatchNormalization from (filters, kernel, stride, padding)."""
    return tuple(Conv(*layer, norm=True) for layer in layers)


NETWORKS = {
    "edge-micro": _convs(
        (3, 3, 2, "same"),
        (4, 3, 1, "same"),
        (4, 3, 1, "same"),
        (4, 3, 1, "same"),
        (3, 3, 2, "same"),
        (3, 3, 2, "valid"),
    ),
    # without padding at 12×12, 10×10 and 8×8, so that TensorFlow Lite Micro runs five layers in 4 KB of arena
    "edge-nano": _convs(
        (4, 5, 2, "valid"), (5, 3, 1, "valid"), (6, 3, 1, "valid"), (8, 3, 2, "same"), (8, 3, 1, "valid")
    ),
    "edge-small": _convs(
        (6, 5, 2, "valid"),
        (8, 3, 1, "valid"),
        (8, 3, 1, "valid"),
        (8, 3, 2, "same"),
        (10, 3, 1, "same"),
        (10, 3, 1, "valid"),
    ),
    "edge": _convs(
        (8, 5, 2, "valid"),
        (16, 3, 1, "valid"),
        (16, 3, 1, "same"),
        (16, 3, 1, "valid"),
        (24, 3, 2, "same"),
        (24, 3, 1, "valid"),
    ),
}
TRAININGS = {
    "edge-micro": AugmentedTraining(1.5e-2, 1e-4, AFFINE, 0.2),
    "edge-nano": AugmentedTraining(1.2e-2, 1e-4, WIDE, 0.2),
    "edge-small": AugmentedTraining(1e-2, 1e-4, BENT, 0.2),
    "edge": AugmentedTraining(6e-3, 1e-4, STRONG, 0.2, drawn_digits=3400, drawn_marks=3000, teacher=TEACHER),
}


def _recipe(name: str, epochs: int, floor: float) -> Recipe:
    return Recipe(
        name=name,
        convs=NETWORKS[name],
        hidden=None,
        dropout=0.0,
        optimizer="adamw",
        one_hot=True,
        validation=1 / 12,
        random_state=0,
        batch_size=128,
        epochs=epochs,
        floor=floor,
        augmented=TRAININGS[name],
    )


EDGE = {
    recipe.name: recipe
    for recipe in (
        _recipe("edge-micro", 100, 0.98),
        _recipe("edge-nano", 110, 0.985),
        _recipe("edge-small", 100, 0.99),
        _recipe("edge", 90, 0.993),
    )
}
