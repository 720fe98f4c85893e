"""The manifest of an export folder, and the artifacts that it lists."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from mnist_edge.core.contract import Contract, Precision
from mnist_edge.core.errors import FolderError
from mnist_edge.core.files import write_json
from mnist_edge.core.folder import MANIFEST
from mnist_edge.core.listing import FileEntry as FileEntry
from mnist_edge.core.listing import manifest_path
from mnist_edge.core.publish import settled
from mnist_edge.core.reading import reading
from mnist_edge.core.typed_json import SCHEMA, FileName, read_json


@dataclass(frozen=True)
class Artifact:
    """One exported file.

    `quantization` says how an int8 file was quantized. `companions` are other files that belong to it, a header say.
    `versions` and `host` are those of its export; a folder may hold files of several exports.
    """

    STORED_NAMES: ClassVar[Mapping[str, str]] = {"path": "file"}

    path: Path
    format: str
    precision: Precision
    contract: Contract
    bytes: int
    sha256: str
    quantization: dict[str, Any] | None = None
    companions: dict[FileName, FileEntry] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    host: dict[str, Any] = field(default_factory=dict)

    @property
    def paths(self) -> list[Path]:
        """Return the file, and those that belong to it."""
        return [self.path, *(self.path.with_name(name) for name in self.companions)]

    def check(self) -> None:
        """Raise ArtifactError where a file is missing, IntegrityError where its bytes are not the manifest's."""
        FileEntry(self.bytes, self.sha256).check(self.path)
        for name, entry in self.companions.items():
            entry.check(self.path.with_name(name))


@dataclass(frozen=True)
class DatasetRecord:
    """The dataset that a model was trained, calibrated and tested with."""

    name: str
    genuine_mnist: bool = False
    train_sha256: str = ""
    test_sha256: str = ""


@dataclass(frozen=True)
class About:
    """What the manifest says of the model and of the last export into the folder; versions are by package."""

    dataset: DatasetRecord
    mnist_edge: str = ""
    weights_sha256: str = ""
    test_accuracy: float | None = None
    accuracy_floor: float | None = None
    calibration: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    host: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """What an export folder holds. It is published with the files that it lists: a folder that has one is complete.

    `files` are `model.keras`, `training.json` and `reference.npz`.
    """

    model: str
    artifacts: tuple[Artifact, ...]
    files: dict[FileName, FileEntry]
    about: About
    folder: Path = Path()

    def float32_counterpart(self, artifact: Artifact) -> Artifact | None:
        """Return the float32 artifact of the same format, the one with the default input and output first."""
        same_format = (item for item in self.artifacts if item.format == artifact.format)
        return next((item for item in same_format if item.precision is Precision.FLOAT32), None)

    def to_json(self) -> dict[str, Any]:
        """Return what `manifest.json` holds."""
        artifacts = []
        for artifact in self.artifacts:
            entry = asdict(artifact)
            artifacts.append({"file": entry.pop("path").name, **entry})
        files = {name: asdict(entry) for name, entry in self.files.items()}
        content = {"schema": SCHEMA, "model": self.model, "artifacts": artifacts}
        return {**content, "files": files, "about": asdict(self.about)}

    def write(self) -> None:
        """Write the manifest, atomically."""
        write_json(self.folder / MANIFEST, self.to_json())

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return a folder's manifest. Raises FolderError where there is none, or a damaged one."""
        folder = settled(folder)
        path = manifest_path(folder)
        manifest = read_json(path, cls, "Export again.")
        with reading(FolderError, f"{path} is damaged", "Export again."):
            for artifact in manifest.artifacts:
                artifact.contract.check()
                if any(Path(name).name != name for name in (*artifact.companions, *manifest.files)):
                    raise ValueError("a file lies in another folder")
        about = manifest.about
        artifacts = tuple(  # version 0.1 kept versions and host for the folder alone
            replace(
                item, path=folder / item.path, versions=item.versions or about.versions, host=item.host or about.host
            )
            for item in manifest.artifacts
        )
        return replace(manifest, folder=folder, artifacts=artifacts)

    def check(self, name: str) -> Path:
        """Return the path of one of `files`, checked against its size and SHA-256."""
        entry = self.files.get(name)
        if entry is None:
            raise FolderError(f"{self.folder / MANIFEST} does not list {name}. Export again.")
        entry.check(self.folder / name)
        return self.folder / name


def find_artifact(path: Path) -> Artifact | None:
    """Return the entry of a file in the manifest beside it, checked by SHA-256; None where no manifest lists it.

    Raises:
        ArtifactError, FolderError: the file is not what the manifest says, or the manifest is damaged.
    """
    if not (settled(path.parent) / MANIFEST).is_file():
        return None
    for artifact in Manifest.read(path.parent).artifacts:
        if artifact.path.name == path.name:
            artifact.check()
            return artifact
    return None
