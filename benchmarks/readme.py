"""Run the commands whose output the README shows, and put it there.

    python benchmarks/readme.py          (after make export, on a machine that does nothing else)

A block of the README between `<!-- name -->` and `<!-- /name -->` is replaced by what its command prints.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMMANDS = {
    "export": ["export"],
    "verify": ["verify"],
    "bench": ["bench"],
    "models": ["models"],
}


def output(name: str) -> str:
    """Return what a block shows: a command with its output, or a committed table."""
    if name not in COMMANDS:
        return (ROOT / "benchmarks" / "results" / f"{name}.md").read_text(encoding="utf-8").strip()
    command = [sys.executable, "-m", "mnist_edge", *COMMANDS[name]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [f"$ mnist-edge {' '.join(COMMANDS[name])}", *done.stdout.rstrip().splitlines()]
    return "\n".join(f"    {line}".rstrip() for line in lines)


def main() -> None:
    """Rewrite README.md."""
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"<!-- (\w+) -->", text):
        block = f"<!-- {name} -->\n{output(name)}\n<!-- /{name} -->"
        start, end = text.index(f"<!-- {name} -->"), text.index(f"<!-- /{name} -->") + len(f"<!-- /{name} -->")
        text = text[:start] + block + text[end:]
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
