"""Standard input, output and error as they may be: closed, full, or of an encoding that lacks our characters."""

import codecs
import errno
import io
import os
import sys

ERRORS = "mnist-edge"  # the name under which Python knows `_replaced`
PLAIN = {
    **dict.fromkeys("µμ", "u"),
    **dict.fromkeys("–—−─━", "-"),
    **dict.fromkeys("│┃", "|"),
    "±": "+-",
    "×": "x",
    "…": "...",
    "→": "->",
    "≤": "<=",
    "≥": ">=",
    "·": ".",
    "’": "'",
}


class Streams:
    """The three streams of this process. `closed` are the names of those that were closed when it started."""

    closed: frozenset[str] = frozenset()

    @classmethod
    def prepare(cls) -> None:
        """Open those that are closed on nothing, and let each character be printed somehow."""
        codecs.register_error(ERRORS, _replaced)
        closed = set()
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            if getattr(sys, name) is None:
                closed.add(name)
                _open_nothing(number)
                setattr(sys, name, open(os.devnull, "w" if number else "r", encoding="utf-8"))  # noqa: PTH123, SIM115
        cls.closed |= closed
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors=ERRORS)

    @classmethod
    def flush(cls) -> OSError | None:
        """Write what is left of the output; return why that cannot be done, and let Python not try it again."""
        failed = None
        try:
            sys.stdout.flush()
        except OSError as error:
            failed = error
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, 1)
            os.close(nothing)
        return failed


def _open_nothing(number: int) -> None:
    """Open a closed descriptor, so that no file that is written gets its number, and what is printed with it."""
    try:
        os.fstat(number)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor != number:
            os.dup2(descriptor, number)
            os.close(descriptor)


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return plain characters for those that an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    plain = "".join(PLAIN.get(char) or ascii(char)[1:-1] for char in text)
    return plain, error.end
