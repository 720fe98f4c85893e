"""What a terminal may be sent: rich's own control codes, and text that prints."""

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook, RenderResult
from rich.segment import Segment

from mnist_edge.core.text import printable


class Printable(RenderHook):
    """A hook of a rich console under which no text of a file acts on the terminal."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Return what is to be shown, each with its text made printable."""
        return [_PrintableText(item) for item in renderables]


class _PrintableText:
    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the segments of the inner one."""
        for segment in console.render(self._inner, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)
