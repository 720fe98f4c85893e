"""`mnist-edge inspect`."""

from pathlib import Path

import click

from mnist_edge.cli.console import console, print_json
from mnist_edge.cli.options import PATH, export_folders, json_option


@click.command("inspect")
@click.argument("target", type=PATH)
@json_option
def command(target: Path, json: bool) -> None:
    """Show what is in any .tflite or .onnx file: input and output, operators, versions, sizes, oldest runtime.

    TARGET is a file, or an export folder, whose files are checked against the manifest and shown one after another.

    \b
    Example: mnist-edge inspect exports/cnn/cnn-int8.onnx
    """
    from mnist_edge.core.errors import ArtifactError
    from mnist_edge.formats import format_of
    from mnist_edge.formats.first_look import first_look
    from mnist_edge.report import json as as_json
    from mnist_edge.report import tables as report

    if not target.exists():
        raise ArtifactError(f"there is no file {target}.")
    files = _files(target) if target.is_dir() else [target]
    described = {}
    for file in files:
        first_look(file, format_of(file), step="describe")
        described[file] = format_of(file).describe(file)
    if json and target.is_dir():
        each = [{"file": str(file), **as_json.description(found)} for file, found in described.items()]
        print_json({"schema": report.SCHEMA, "files": each})
    elif json:
        print_json(as_json.description(described[target]))
    else:
        screen = console()
        for number, (file, found) in enumerate(described.items()):
            screen.print(*[""] * (number > 0), report.description_table(file.name, found), sep="\n")


def _files(target: Path) -> list[Path]:
    """Return the artifacts of an export folder, or of those in a folder."""
    from mnist_edge.core.errors import FolderError
    from mnist_edge.core.manifest import Manifest

    artifacts = [item for folder in export_folders(target) for item in Manifest.read(folder).artifacts]
    if not artifacts:
        raise FolderError(f"{target} has no artifact. Export one: mnist-edge export")
    for artifact in artifacts:
        artifact.check()
    return [artifact.path for artifact in artifacts]
