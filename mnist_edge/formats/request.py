"""What a format is asked to export: precision, input and output, and how it is quantized."""

from dataclasses import dataclass, field
from typing import Any

from mnist_edge.core.contract import IOOptions, Precision
from mnist_edge.formats.runner import Images


@dataclass(frozen=True)
class Quantization:
    """How weights and activations are quantized.

    `method` is one of the format's calibration `methods`; `float_layers` are the positions, from 0, of layers that stay
    in float, counted among those that have weights. `ranges` are those of a model that has its own (keras/ranges.py):
    nothing is calibrated then, and convolutions have a scale for each channel, Dense layers one.
    """

    method: str = "minmax"
    per_channel: bool = True
    float_layers: tuple[int, ...] = ()
    ranges: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class TuningResult:
    """The chosen quantization, and all that were tried with their accuracy drops and, if measured, times."""

    quantization: Quantization
    tried: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Request:
    """What `export` is asked for. `calibration` is the representative dataset, uint8 `[N, 28, 28]`.

    `threshold` is that of the contract.
    """

    precision: Precision
    calibration: Images
    metadata: dict[str, str]
    io: IOOptions = field(default_factory=IOOptions)
    quantization: Quantization = field(default_factory=Quantization)
    threshold: float | None = None
