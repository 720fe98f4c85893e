"""What a format says of itself whose files run on another kind of machine than this one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Footprint:
    """Bytes that a file takes on its target: `flash` for the model, `arena` of RAM; the runtime's own come on top."""

    flash: int
    arena: int
    measured_with: str

    def __str__(self) -> str:
        return (
            f"{self.flash:,} bytes of flash for the array, {self.arena:,} bytes of arena in RAM "
            f"({self.measured_with}); the runtime's own code and data come on top"
        )


class Target(Protocol):
    """A machine whose runtime can be tried out here: its files are made only when asked for, and never timed here."""

    name: str
    """What `--target` calls it."""
    machine: str
    """What it is, in a word."""
    twin: str
    """The format whose full-integer int8 file goes with one of these, and whose classes these must give."""
    promise: str
    """That they do, in words."""

    def footprint(self, path: Path) -> Footprint:
        """Measure what a file takes. Raises ArtifactError and MissingRuntime as the format's `open` does."""
