"""The border between us and a library that reads a file of others: whatever it raises becomes one line of ours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mnist_edge.core.errors import MnistEdgeError
from mnist_edge.core.text import one_line

MEGABYTE = 10**6


def reason(error: Exception) -> str:
    """Return what an error says, in one line; with its type where that is not a usual one."""
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, OSError) and error.strerror:
        return one_line(error.strerror)
    said = one_line(error)
    if isinstance(error, ValueError | OSError) and said:
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


@contextmanager
def reading(
    kind: type[MnistEdgeError], subject: str, advice: str = "", explain: Callable[[Exception], str] = reason
) -> Iterator[None]:
    """Turn whatever the block raises into an error of this kind: `subject (reason). advice`.

    Only what reads the content of a file belongs inside: a bug of ours there is told as a damaged file. Our own errors
    pass, and so does the import of a package that is missing.
    """
    try:
        yield
    except (MnistEdgeError, ImportError):
        raise
    except Exception as error:  # a list of what libraries raise on damaged content is never complete
        raise kind(f"{subject} ({explain(error)}). {advice}".rstrip()) from error


def check_size(size: int, most: int, what: str = "it") -> None:
    """Raise ValueError where so many bytes are over a limit."""
    if size > most:
        raise ValueError(f"{what} takes {size / MEGABYTE:,.0f} MB, and the limit is {most / MEGABYTE:,.0f} MB")


def check_file_size(kind: type[MnistEdgeError], path: Path, most: int) -> None:
    """Raise an error of this kind where a file is over a limit; one that is not there is for its reader to tell of."""
    if path.is_file():
        with reading(kind, f"{path} is too large"):
            check_size(path.stat().st_size, most)


def read_bytes(path: Path, most: int) -> bytes:
    """Return the bytes of a file. Raises ValueError where they are over a limit."""
    with path.open("rb") as file:
        check_size(path.stat().st_size, most)
        content = file.read(most + 1)
    check_size(len(content), most)  # of a file that grows, or has no size
    return content
