"""The nouns that every stage shares: `Precision`, `Contract`, `Artifact`, and the `Manifest` of a folder."""

import json
import math
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from mnist_edge.core.errors import ArtifactError, FolderError, IntegrityError
from mnist_edge.core.files import DAMAGED, sha256, write_json

SCHEMA = 1
LABELS = tuple("0123456789")


class Precision(StrEnum):
    """How an exported file stores and computes numbers."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    DYNAMIC = "dynamic"
    INT8 = "int8"
    INT16X8 = "int16x8"


@dataclass(frozen=True)
class Ends:
    """What a user may choose of a file beside its precision.

    `batch` is the number of images a call takes, None for any; `head` is `probabilities` or `logits`; `full_integer`
    asks for int8 in and out, as microcontrollers and accelerators want it.
    """

    batch: int | None = 1
    head: str = "probabilities"
    full_integer: bool = False

    @property
    def tag(self) -> str:
        """What a file's name says of ends that are not the default: `-logits`, `-io8`, `-batch4`, `-anybatch`."""
        head = "" if self.head == "probabilities" else f"-{self.head}"
        batch = "" if self.batch == 1 else "-anybatch" if self.batch is None else f"-batch{self.batch}"
        return f"{head}{'-io8' if self.full_integer else ''}{batch}"


@dataclass(frozen=True)
class Tensor:
    """One end of a file: its name, dtype and shape (None is any size), and what its numbers mean.

    Where `scale` is given, the real number is (stored - zero_point) × scale.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    meaning: str
    scale: float | None = None
    zero_point: int | None = None

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Read what `dataclasses.asdict` gave. Raises ValueError, KeyError or TypeError where it is something else."""
        found = cls(**{**content, "shape": tuple(content["shape"])})
        numbers = [size for size in found.shape if size is not None]
        scale, zero_point = found.scale, found.zero_point
        good = all(isinstance(text, str) for text in (found.name, found.dtype, found.meaning))
        good &= all(type(size) is int and size > 0 for size in numbers) and len(found.shape) > 0
        good &= scale is None or (type(scale) in (int, float) and 0 < scale < math.inf)
        good &= zero_point is None or type(zero_point) is int
        if not good:
            raise ValueError(f"no input or output can be {content}")
        return found


@dataclass(frozen=True)
class Contract:
    """What goes into an exported file and what comes out: all that an embedder has to know."""

    input: Tensor
    output: Tensor
    layout: str
    labels: tuple[str, ...] = LABELS

    @classmethod
    def of(cls, precision: Precision, layout: str, ends: Ends = Ends()) -> Self:
        """Give the contract of a precision; `layout` is the format's own, NHWC or NCHW.

        The scale and zero point of full-integer logits depend on the network: they are None here.
        """
        shape = (ends.batch, 28, 28, 1) if layout == "NHWC" else (ends.batch, 1, 28, 28)
        meaning = "one probability a digit" if ends.head == "probabilities" else "one logit a digit, before Softmax"
        output = Tensor(ends.head, "float32", (ends.batch, 10), meaning)
        if ends.full_integer:
            image = Tensor("image", "int8", shape, "pixel - 128, -128 black to 127 white", 1 / 255, -128)
            known = (1 / 256, -128) if ends.head == "probabilities" else (None, None)
            output = Tensor(ends.head, "int8", (ends.batch, 10), meaning, *known)
        elif precision is Precision.INT8:
            image = Tensor("image", "uint8", shape, "raw pixels, 0 black to 255 white")
        else:
            image = Tensor("image", "float32", shape, "pixels / 255, 0 black to 1 white")
        return cls(image, output, layout)

    def breaches(self, ends: tuple[Tensor, Tensor]) -> list[str]:
        """Say, one line each, where a file's own ends are not what this promises; raw pixels are steps of 1/255."""
        lines = []
        if self.labels != LABELS:
            lines.append(f"the labels are {' '.join(self.labels)}, not {' '.join(LABELS)}")
        for promised, found in zip((self.input, self.output), ends, strict=True):
            for what in ("name", "dtype", "shape"):
                was, now = getattr(promised, what), getattr(found, what)
                if was != now:
                    lines.append(f"the {what} of {promised.name} is {now} in the file, {was} in the contract")
            if found.scale is None:
                continue
            scale, zero_point = promised.scale, promised.zero_point
            if promised.dtype == "uint8" and scale is None:  # raw pixels
                scale, zero_point = 1 / 255, 0
            if scale is not None and not math.isclose(scale, found.scale, rel_tol=1e-6):
                lines.append(
                    f"the scale of {promised.name} is {found.scale:.6g} in the file, {scale:.6g} in the contract"
                )
            if zero_point not in (None, found.zero_point):
                lines.append(
                    f"the zero point of {promised.name} is {found.zero_point} in the file, {zero_point} in the contract"
                )
        return lines

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Read what `dataclasses.asdict` gave. Raises ValueError, KeyError or TypeError where it is something else."""
        image, output = (Tensor.from_json(content[end]) for end in ("input", "output"))
        return cls(image, output, content["layout"], tuple(content["labels"]))


@dataclass(frozen=True)
class Artifact:
    """One exported file, as the manifest knows it; `quantization` says how an int8 one was quantized.

    `companions` are files beside it that belong to it, a header say: their names with `bytes` and `sha256`.
    """

    path: Path
    format: str
    precision: Precision
    contract: Contract
    bytes: int
    sha256: str
    quantization: dict[str, Any] | None = None
    companions: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def paths(self) -> list[Path]:
        """The file, and those that belong to it."""
        return [self.path, *(self.path.with_name(name) for name in self.companions)]

    def check(self) -> None:
        """Raise ArtifactError where a file is missing, IntegrityError where its bytes are not the manifest's."""
        check_file(self.path, self.bytes, self.sha256)
        for name, entry in self.companions.items():
            check_file(self.path.with_name(name), entry["bytes"], entry["sha256"])


def check_file(path: Path, size: int, digest: str) -> None:
    """Compare a file with the size in bytes and the SHA-256 that a manifest gives for it."""
    if not path.is_file():
        raise ArtifactError(f"{path} is in the manifest but not on disk. Export it again, or copy it here.")
    if path.stat().st_size != size:
        raise IntegrityError(
            f"{path} has {path.stat().st_size} bytes, the manifest says {size}: it was truncated or replaced. "
            "Copy it again from where it was exported, or export again."
        )
    if (found := sha256(path)) != digest:
        raise IntegrityError(
            f"{path} was changed: its SHA-256 is {found[:12]}…, the manifest says {digest[:12]}…. "
            "Copy it again from where it was exported, or export again."
        )


@dataclass(frozen=True)
class Manifest:
    """What an export folder holds. It is written last: a folder that has one is whole and of one piece.

    `about` tells of the model, the dataset, the calibration and the versions; `files` gives size and SHA-256
    of `model.keras`, `training.json` and `reference.npz`.
    """

    folder: Path
    model: str
    artifacts: tuple[Artifact, ...]
    files: dict[str, dict[str, Any]]
    about: dict[str, Any]

    NAME = "manifest.json"

    def float_twin(self, artifact: Artifact) -> Artifact | None:
        """Find the float32 artifact of the same format, the one with the default ends first."""
        twins = (item for item in self.artifacts if item.format == artifact.format)
        return next((item for item in twins if item.precision is Precision.FLOAT32), None)

    def to_json(self) -> dict[str, Any]:
        """Give what `manifest.json` holds."""
        artifacts = []
        for artifact in self.artifacts:
            entry = asdict(artifact)
            artifacts.append({"file": entry.pop("path").name, **entry})
        content = {"schema": SCHEMA, "model": self.model, "artifacts": artifacts}
        return {**content, "files": self.files, "about": self.about}

    def write(self) -> None:
        """Write the manifest, atomically."""
        write_json(self.folder / self.NAME, self.to_json())

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a folder's manifest. Raises FolderError where there is none, or one we cannot use."""
        path = folder / cls.NAME
        make = "mnist-edge export makes one, exports/cnn where nothing else is said."
        if folder.is_file():
            raise FolderError(f"{folder} is a file; give the export folder that it is in.")
        if not folder.is_dir():
            raise FolderError(f"there is no folder {folder}. {make}")
        if not path.is_file():
            raise FolderError(f"{folder} has no {cls.NAME}, so it is not a finished export. {make}")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["schema"] != SCHEMA:
                raise FolderError(
                    f"{path} has schema {content['schema']}, this version reads schema {SCHEMA}. Export again."
                )
            artifacts = tuple(
                Artifact(
                    path=folder / Path(entry["file"]).name,  # never outside the folder
                    format=str(entry["format"]),
                    precision=Precision(entry["precision"]),
                    contract=Contract.from_json(entry["contract"]),
                    bytes=entry["bytes"],
                    sha256=entry["sha256"],
                    quantization=entry.get("quantization"),
                    companions={
                        Path(name).name: {"bytes": item["bytes"], "sha256": item["sha256"]}
                        for name, item in entry.get("companions", {}).items()
                    },
                )
                for entry in content["artifacts"]
            )
            about = dict(content["about"])
            about["versions"] = dict(about.get("versions", {}))
            found = cls(folder, content["model"], artifacts, dict(content["files"]), about)
            found._check_types()
            return found
        except DAMAGED as error:
            raise FolderError(f"{path} is damaged ({type(error).__name__}: {error}). Export again.") from error

    def _check_types(self) -> None:
        """Raise what a damaged manifest raises where a value is not of its kind."""
        companions = [item.companions for item in self.artifacts]
        entries = [*self.files.values(), *(entry for named in companions for entry in named.values())]
        sizes = [*(item.bytes for item in self.artifacts), *(entry["bytes"] for entry in entries)]
        texts = [*(item.sha256 for item in self.artifacts), *(entry["sha256"] for entry in entries)]
        texts += [self.model, self.about["dataset"]["name"], *self.about["versions"].values()]
        figures = [self.about.get(name) for name in ("accuracy_floor", "test_accuracy")]
        if not all(isinstance(text, str) for text in texts) or not all(type(size) is int for size in sizes):
            raise TypeError("a name, digest or size is of another kind")
        if not all(figure is None or type(figure) in (int, float) for figure in figures):
            raise TypeError("an accuracy is no number")
        if any("" in named for named in companions) or any(item.path == self.folder for item in self.artifacts):
            raise ValueError("a file without a name")

    def check(self, name: str) -> Path:
        """Check one of `files` against its recorded size and SHA-256, and give its path."""
        entry = self.files.get(name)
        if entry is None:
            raise FolderError(f"{self.folder / self.NAME} does not list {name}. Export again.")
        check_file(self.folder / name, entry["bytes"], entry["sha256"])
        return self.folder / name


def listed(path: Path) -> Artifact | None:
    """Give the entry of the manifest beside a file, where there is one that lists it, held to its SHA-256.

    Raises:
        ArtifactError, FolderError: the file is not what the manifest says, or the manifest is damaged.
    """
    if not (path.parent / Manifest.NAME).is_file():
        return None
    for artifact in Manifest.read(path.parent).artifacts:
        if artifact.path.name == path.name:
            artifact.check()
            return artifact
    return None
