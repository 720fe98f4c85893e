"""The nouns that every stage shares: `Precision`, `Contract`, `Artifact`, and the `Manifest` of a folder."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from mnist_edge.core.contract import Contract, Precision
from mnist_edge.core.errors import ArtifactError, FolderError, IntegrityError
from mnist_edge.core.files import DAMAGED, sha256, write_json
from mnist_edge.core.folder import MANIFEST

SCHEMA = 1


@dataclass(frozen=True)
class Artifact:
    """One exported file, as the manifest knows it; `quantization` says how an int8 one was quantized.

    `companions` are files beside it that belong to it, a header say: their names with `bytes` and `sha256`. `versions`
    and `host` are those of its export; a folder may hold files of several exports.
    """

    path: Path
    format: str
    precision: Precision
    contract: Contract
    bytes: int
    sha256: str
    quantization: dict[str, Any] | None = None
    companions: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    host: dict[str, Any] = field(default_factory=dict)

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

    def float32_counterpart(self, artifact: Artifact) -> Artifact | None:
        """Find the float32 artifact of the same format, the one with the default ends first."""
        twins = (item for item in self.artifacts if item.format == artifact.format)
        return next((item for item in twins if item.precision is Precision.FLOAT32), None)

    def to_json(self) -> dict[str, Any]:
        """Return what `manifest.json` holds."""
        artifacts = []
        for artifact in self.artifacts:
            entry = asdict(artifact)
            artifacts.append({"file": entry.pop("path").name, **entry})
        content = {"schema": SCHEMA, "model": self.model, "artifacts": artifacts}
        return {**content, "files": self.files, "about": self.about}

    def write(self) -> None:
        """Write the manifest, atomically."""
        write_json(self.folder / MANIFEST, self.to_json())

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a folder's manifest. Raises FolderError where there is none, or one we cannot use."""
        path = folder / MANIFEST
        make = "mnist-edge export makes one, exports/cnn where nothing else is said."
        if folder.is_file():
            raise FolderError(f"{folder} is a file; give the export folder that it is in.")
        if not folder.is_dir():
            raise FolderError(f"there is no folder {folder}. {make}")
        if not path.is_file():
            raise FolderError(f"{folder} has no {MANIFEST}, so it is not a finished export. {make}")
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
                    versions=dict(entry.get("versions", content["about"].get("versions", {}))),
                    host=dict(entry.get("host", content["about"].get("host", {}))),
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
        texts += [version for item in self.artifacts for version in item.versions.values()]
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
            raise FolderError(f"{self.folder / MANIFEST} does not list {name}. Export again.")
        check_file(self.folder / name, entry["bytes"], entry["sha256"])
        return self.folder / name


def find_artifact(path: Path) -> Artifact | None:
    """Return the entry of the manifest beside a file, where there is one that lists it, held to its SHA-256.

    Raises:
        ArtifactError, FolderError: the file is not what the manifest says, or the manifest is damaged.
    """
    if not (path.parent / MANIFEST).is_file():
        return None
    for artifact in Manifest.read(path.parent).artifacts:
        if artifact.path.name == path.name:
            artifact.check()
            return artifact
    return None
