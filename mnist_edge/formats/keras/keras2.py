"""Puts the architecture that Keras 2 saved into the words of Keras 3."""

from collections.abc import Iterator
from typing import Any

LAMBDA_CODE = "__lambda__"
UNSET: dict[str, tuple[Any, ...]] = {
    "groups": (1,),
    "time_major": (False,),
    "rng_type": ("stateful", "stateless", None),
    "renorm": (False,),
    "renorm_clipping": (None,),
    "renorm_momentum": (0.99,),
    "virtual_batch_size": (None,),
    "adjustment": (None,),
    "fused": (None, True, False),
    "dynamic": (False,),
    "ragged": (False,),
    "implementation": (0, 1, 2),
    "experimental_autocast": (True,),
    "output_shape_type": ("raw", "function", "lambda"),
    "output_shape_module": (None,),
    "function_type": ("function",),
}
"""Arguments that Keras 3 dropped, with the values under which a layer computes the same without them."""


TRAINING_ONLY = "_initializer", "_regularizer", "_constraint"  # nothing that a trained layer computes with


def parts(config: Any) -> Iterator[dict[str, Any]]:
    """Yield every layer, function and other object in an architecture."""
    if isinstance(config, dict):
        if isinstance(config.get("class_name"), str):
            yield config
        config = list(config.values())
    if isinstance(config, list):
        for item in config:
            yield from parts(item)


def as_keras3(config: Any) -> Any:
    """Return an architecture with the module names of Keras 3, and without arguments that it dropped."""
    if isinstance(config, list):
        return [as_keras3(item) for item in config]
    if not isinstance(config, dict):
        return config
    newer = {key: as_keras3(value) for key, value in config.items()}
    kind, module, inner = newer.get("class_name"), newer.get("module"), newer.get("config")
    if isinstance(module, str) and isinstance(kind, str):
        newer["module"] = _module(module, kind)
    if isinstance(kind, str) and isinstance(inner, dict) and not newer.get("registered_name"):
        newer["config"] = _without_dropped(kind, inner)
    return newer


def _module(module: str, kind: str) -> str:
    """Return where Keras 3 has a class of Keras 2, whose package was tf_keras or keras."""
    package, _, rest = module.partition(".")
    if package not in ("keras", "tf_keras"):
        return module
    if kind in ("Functional", "Model", "Sequential") and ".engine." in module:
        return "keras.src.models.functional" if kind == "Functional" else "keras"
    return f"keras.{rest}" if rest else "keras"


def _without_dropped(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    import inspect

    import keras

    made = getattr(keras.layers, kind, None)
    if not isinstance(made, type):
        return config
    parameters = inspect.signature(made.__init__).parameters  # type: ignore[misc]
    known = set(parameters)
    closed = not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    dropped = {key for key, values in UNSET.items() if key not in known and key in config and config[key] in values}
    if closed:  # a few layers of Keras 3 take not even what every layer has
        dropped |= {"trainable", "noise_shape"} & set(config) - known
    dropped |= {key for key in config if key.endswith(TRAINING_ONLY) and key not in known}
    if kind == "Lambda":
        dropped |= {"module"} & set(config)
    kept = {key: value for key, value in config.items() if key not in dropped}
    if kind == "BatchNormalization" and isinstance(kept.get("axis"), list) and len(kept["axis"]) == 1:
        kept["axis"] = kept["axis"][0]
    return kept
