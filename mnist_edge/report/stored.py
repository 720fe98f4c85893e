"""Results that `verify` and `bench` left in a folder, read back into dataclasses."""

from dataclasses import dataclass
from pathlib import Path

from mnist_edge.core.errors import FolderError
from mnist_edge.core.folder import BENCH, VERIFY
from mnist_edge.core.host import Host
from mnist_edge.core.typed_json import BENCH_SCHEMA, FileName, read_json
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
class StoredBudget:
    """Whether a file loses less accuracy than was allowed, and whether the user had set that."""

    chosen: bool
    within: bool


@dataclass(frozen=True)
class StoredVerdict:
    """The verdict on one file."""

    file: FileName
    sha256: str
    status: Status
    reasons: tuple[str, ...]
    comparison: StoredComparison | None
    on_host: StoredHostComparison | None
    budget: StoredBudget | None = None


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
        """Return whether nothing failed or was over the user's budget and, where `strict`, no file was skipped."""
        files = {item.status for item in self.results}
        checks = {item.status for item in self.checks}
        over = any(budget.chosen and not budget.within for item in self.results if (budget := item.budget) is not None)
        return Status.FAIL not in files | checks and not over and not (strict and Status.SKIPPED in files)


@dataclass(frozen=True)
class StoredStats:
    """The figures of a kind of call, in microseconds, and the number of samples.

    `percentiles_us` are the 0th to the 100th; `fast_us` and `fast_open` are those of `bench.statistics.fast_level`.
    """

    p50_us: float
    p90_us: float
    p99_us: float
    fast_us: float
    fast_open: float
    runs: int
    percentiles_us: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Raise ValueError where the percentiles are not 101 numbers."""
        if len(self.percentiles_us) not in (0, 101):
            raise ValueError("percentiles_us are not 101 numbers")


@dataclass(frozen=True)
class StoredLatency:
    """The figures of one file; a call takes `batch` images."""

    file: FileName
    sha256: str
    invoke: StoredStats
    call: StoredStats
    cold: StoredStats | None
    idle: StoredStats | None
    runtime: str
    batch: int

    @property
    def name(self) -> str:
        """Return the file's name, with the runtime's variant where it is not the default."""
        return self.file if self.runtime == "default" else f"{self.file} ({self.runtime})"


@dataclass(frozen=True)
class BenchResults:
    """What `bench.json` holds, but for the raw samples."""

    model: str
    results: tuple[StoredLatency, ...]
    notes: tuple[str, ...]
    host: Host
    warnings: tuple[str, ...]
    threads: int
    versions: dict[str, str]
    control: StoredStats

    @classmethod
    def read(cls, folder: Path) -> "BenchResults | None":
        """Return the results in a folder; None where bench has not run there. Raises FolderError."""
        return cls.read_file(folder / BENCH) if (folder / BENCH).is_file() else None

    @classmethod
    def read_file(cls, path: Path) -> "BenchResults":
        """Return the results in a file. Raises FolderError."""
        return read_json(path, cls, "Run mnist-edge bench again.", schema=BENCH_SCHEMA)
