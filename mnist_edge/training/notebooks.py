"""The recipes of the four notebooks, and what each reported."""

from mnist_edge.training.recipe import Conv, Recipe

NOTEBOOKS = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="cnn",
            notebook="004_d1a29ff975793c0b",
            convs=(Conv(32, 3, pool=2),),
            hidden=64,
            dropout=0.2,
            optimizer="adam",
            one_hot=False,
            validation=0.2,
            random_state=42,
            batch_size=128,
            epochs=10,
            reported=0.99,
            floor=0.983,
        ),
        Recipe(
            name="cnn-wide",
            notebook="000_10d8ef61c116e705",
            convs=(Conv(32, 4, pool=2),),
            hidden=128,
            dropout=0.0,
            optimizer="rmsprop",
            one_hot=True,
            validation=None,
            random_state=None,
            batch_size=32,
            epochs=2,
            reported=0.9855,
            floor=0.978,
        ),
        Recipe(
            name="mlp",
            notebook="002_f9ef27d1b9237337",
            convs=(),
            hidden=128,
            dropout=0.2,
            optimizer="adam",
            one_hot=True,
            validation=0.2,
            random_state=5,
            batch_size=128,
            epochs=10,
            reported=0.9758,
            floor=0.971,
        ),
        Recipe(
            name="mlp-wide",
            notebook="001_a4026292c96808a4",
            convs=(),
            hidden=512,
            dropout=0.0,
            optimizer="rmsprop",
            one_hot=True,
            validation=None,
            random_state=None,
            batch_size=128,
            epochs=5,
            reported=0.9823,
            floor=0.974,
        ),
    )
}
