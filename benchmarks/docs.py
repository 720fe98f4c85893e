"""Run the commands whose output README.md and docs/ show, and put it there.

    python benchmarks/docs.py            (after make export, on a machine that does nothing else)
    python benchmarks/docs.py commands   (docs/commands.md alone, which is made of --help)
    python benchmarks/docs.py tables     (the committed tables alone)

A block between `<!-- name -->` and `<!-- /name -->` is replaced by what its command prints.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import click

from mnist_edge.cli import commands

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
REFERENCE = ROOT / "docs" / "commands.md"
COMMANDS = {"export": ["export"], "verify": ["verify"], "bench": ["bench"], "models": ["models"]}
HEAD = """# Commands

Made of `--help` by `benchmarks/docs.py`. Every command has `--help` with an example; those that report have `--json`.
"""


def output(name: str) -> str:
    """Return what a block shows: a command with its output, or a committed table."""
    if name not in COMMANDS:
        return (ROOT / "benchmarks" / "results" / f"{name}.md").read_text(encoding="utf-8").strip()
    command = [sys.executable, "-m", "mnist_edge", *COMMANDS[name]]
    env = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    lines = [f"$ mnist-edge {' '.join(COMMANDS[name])}", *done.stdout.rstrip().splitlines()]
    return "\n".join(f"    {line}".rstrip() for line in lines)


def command_reference() -> str:
    """Return docs/commands.md: the help of every command, as a terminal of 88 columns shows it."""
    parts = [HEAD]
    root = click.Context(commands, info_name="mnist-edge", help_option_names=["-h", "--help"])
    for name in commands.list_commands(root):
        parts += _help(commands.get_command(root, name), name, root)
    return "\n".join(parts)


def _help(command: click.Command | None, name: str, parent: click.Context) -> list[str]:
    assert command is not None
    context = click.Context(command, info_name=name, parent=parent, max_content_width=88, terminal_width=88)
    command._help_option = None  # click keeps the one of an earlier context, which may have other names
    text = command.get_help(context)
    parts = [f"## {context.command_path}", "", *(f"    {line}".rstrip() for line in text.splitlines()), ""]
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            parts += _help(command.get_command(context, inner), inner, context)
    return parts


def main() -> None:
    """Rewrite the pages, or a part of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=["commands", "tables"])
    only = parser.parse_args().part
    if only != "tables":
        REFERENCE.write_text(command_reference(), encoding="utf-8")
    for path in PAGES if only != "commands" else ():
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r"<!-- (\w+) -->", text):
            if only == "tables" and name in COMMANDS:
                continue
            block = f"<!-- {name} -->\n{output(name)}\n<!-- /{name} -->"
            start, end = text.index(f"<!-- {name} -->"), text.index(f"<!-- /{name} -->") + len(f"<!-- /{name} -->")
            text = text[:start] + block + text[end:]
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
