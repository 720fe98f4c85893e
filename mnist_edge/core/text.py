"""Text of others, made fit for a message of ours."""


def printable(text: str) -> str:
    """Return text of any number of lines with each character written out that a terminal would act on."""
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)


def one_line(text: object, limit: int = 300) -> str:
    """Return a message in one line, cut behind a whole word where it is longer than `limit` characters."""
    line = " ".join(str(text).split())
    if len(line) <= limit:
        return line
    return f"{line[: limit - 1].rpartition(' ')[0] or line.partition(' ')[0]} …"
