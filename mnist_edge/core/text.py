"""Text of others, made fit for a terminal, a page, JSON or a message of ours."""

LONGEST_WORD = 1000


def printable(text: str, keep: str = "\n") -> str:
    """Return text in which each character that does not print is written out, `\\x1b`; those in `keep` stay.

    Control characters, escape sequences, lone surrogates and marks of direction: none of them can then act.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else ascii(char)[1:-1] for char in text)


def flat(text: str) -> str:
    """Return text in one line that prints."""
    return printable(" ".join(text.split()))


def one_line(text: object, limit: int = 300) -> str:
    """Return a message in one line that prints, cut behind a whole word where it is longer than `limit` characters."""
    line = flat(str(text))
    if len(line) <= limit:
        return line
    return f"{line[: limit - 1].rpartition(' ')[0] or line.partition(' ')[0][:LONGEST_WORD]} …"
