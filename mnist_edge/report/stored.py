"""Results that `verify` and `bench` left in a folder, read back into dataclasses."""

from dataclasses import dataclass
from pathlib import Path

from mnist_edge.core.errors import FolderError
from mnist_edge.core.folder import BENCH, VERIFY
from mnist_edge.core.host import Host
from mnist_edge.core.typed_json import FileName, read_json
from mnist_edge.verify.result import Status


@dataclass(frozen=True)
class StoredComparison:
    """Accuracy against the labels, and the images that change class against Keras."""

    accuracy: float
    flips: tuple[int, ...]


@dataclass(frozen=True)
class StoredHostComparison:
    """The largest difference in probability from what the exporting host computed; None where it is not finite."""

    largest_difference: float | None


@dataclass(frozen=True)
class StoredVerdict:
    """The verdict on one file."""

    file: FileName
    sha256: str
    status: Status
    reasons: tuple[str, ...]
    comparison: StoredComparison | None
    on_host: StoredHostComparison | None


@dataclass(frozen=True)
class StoredCheck:
    """The verdict of a check that is not about one file."""

    status: Status


@dataclass(frozen=True)
class VerifyResults:
    """What `verify.json` holds."""

    results: tuple[StoredVerdict, ...]
    checks: tuple[StoredCheck, ...]
    sample: str
    host: Host

    @classmethod
    def read(cls, folder: Path) -> "VerifyResults | None":
        """Return the results in a folder; None where verify has not run there. Raises FolderError."""
        return cls.read_file(folder / VERIFY) if (folder / VERIFY).is_file() else None

    @classmethod
    def read_file(cls, path: Path) -> "VerifyResults":
        """Return the results in a file. Raises FolderError."""
        content = read_json(path, cls, "Run mnist-edge verify again.")
        if not content.results:
            raise FolderError(f"{path} is damaged (it has no results). Run mnist-edge verify again.")
        return content

    def passes(self, strict: bool = False) -> bool:
        """Return whether nothing failed and, where `strict`, no file was skipped."""
        files = {item.status for item in self.results}
        checks = {item.status for item in self.checks}
        return Status.FAIL not in files | checks and not (strict and Status.SKIPPED in files)


@dataclass(frozen=True)
class StoredStats:
    """Percentiles of a kind of call, in microseconds, and the number of samples."""

    p50_us: float
    p90_us: float
    p99_us: float
    runs: int = 0


@dataclass(frozen=True)
class StoredLatency:
    """The figures of one file; a call takes `batch` images."""

    file: FileName
    sha256: str
    invoke: StoredStats
    call: StoredStats
    batch: int = 1


@dataclass(frozen=True)
class BenchResults:
    """What `bench.json` holds, but for the raw samples."""

    results: tuple[StoredLatency, ...]
    notes: tuple[str, ...]
    host: Host
    warnings: tuple[str, ...] = ()
    threads: int = 1

    @classmethod
    def read(cls, folder: Path) -> "BenchResults | None":
        """Return the results in a folder; None where bench has not run there. Raises FolderError."""
        return cls.read_file(folder / BENCH) if (folder / BENCH).is_file() else None

    @classmethod
    def read_file(cls, path: Path) -> "BenchResults":
        """Return the results in a file. Raises FolderError."""
        return read_json(path, cls, "Run mnist-edge bench again.")
