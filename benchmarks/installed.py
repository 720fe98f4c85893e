"""What an installation costs: size on disk, start of the command line, time and peak memory of `predict`.

    python benchmarks/installed.py [FOLDER] [--rounds 10] [--only onnx]      (after make export; 6 GB of disk)

Each environment is a user's: a fresh one with the package, not editable, and an extra of it, or none. pip, setuptools
and what they compiled are not counted. `predict` reads a picture with the int8 file of FOLDER that the environment's
runtime runs, and is timed in a first call, which fills the caches, and in others. The environments take turns. Writes
results/installed.json and results/installed.md.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from figures import write
from PIL import Image
from predict import spend, versions

from mnist_edge.data import dataset as data

ROOT = Path(__file__).parent.parent
EXTRAS = {"": None, "tflite": "tflite", "onnx": "onnx", "export": "tflite"}
"""The extras, "" for the package alone, with the suffix of the file that `predict` reads; None: no runtime is there."""
NOT_OURS = ("pip", "setuptools", "pkg_resources", "_distutils_hack")


def install(folder: Path, extra: str) -> Path:
    """Make a virtual environment with the package and an extra; return its folder."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    wanted = f"{ROOT}[{extra}]" if extra else str(ROOT)
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--no-compile"]
    subprocess.run([*command, "-c", str(ROOT / "constraints.txt"), wanted], check=True)
    return folder


def size(venv: Path) -> int:
    """Return the bytes of all files of an environment but pip's own and bytecode."""
    total = 0
    for path in venv.rglob("*"):
        if path.is_symlink() or not path.is_file() or path.suffix == ".pyc":
            continue
        inside = path.relative_to(venv).parts
        owner = inside[inside.index("site-packages") + 1] if "site-packages" in inside[:-1] else ""
        if owner.partition("-")[0] not in NOT_OURS:
            total += path.stat().st_size
    return total


def commands(venv: Path, suffix: str | None, folder: Path, picture: Path, digit: int) -> dict[str, Any]:
    """Return the commands that are timed, each with what it has to say."""
    binary = str(venv / "bin" / "mnist-edge")
    timed = {"version": ([binary, "--version"], "mnist-edge")}
    if suffix:
        artifact = folder / f"{folder.name}-int8.{suffix}"
        timed["predict"] = ([binary, "predict", str(picture), "--artifact", str(artifact)], f": {digit} (")
    return timed


def measure(options: argparse.Namespace, place: Path) -> list[dict[str, Any]]:
    """Return a row for each environment: bytes, and seconds and MiB of each round; the first is apart."""
    test = data.load_mnist().test
    picture = place / "digit.png"
    Image.fromarray(255 - test.images[0]).resize((280, 280)).save(picture)
    rows: list[dict[str, Any]] = []
    timed = []
    for extra in options.only or EXTRAS:
        venv = install(place / (extra or "base"), extra)
        rows.append({"extra": extra, "bytes": size(venv), "versions": versions(venv / "bin" / "python")})
        folder = options.folder.resolve()
        timed.append(commands(venv, EXTRAS[extra], folder, picture, int(test.labels[0])))
    for _ in range(options.rounds + 1):
        for row, items in zip(rows, timed, strict=True):
            for name, (command, expected) in items.items():
                row.setdefault(name, []).append(spend(command, expected))
    return rows


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return the table, one line an environment."""
    lines = [
        "| installed | packages | on disk, MiB | `--version`, s | peak, MiB | `predict`, the first, s | others, s "
        "| peak, MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        name = f"`mnist-edge[{row['extra']}]`" if row["extra"] else "`mnist-edge`"
        packages = len([package for package in row["versions"] if package not in ("pip", "setuptools")])
        cells = [name, str(packages), f"{row['bytes'] / 2**20:.0f}", _seconds(row["version"][1:]), _mib(row["version"])]
        reading = row.get("predict")
        cells += [_seconds(reading[:1]), _seconds(reading[1:]), _mib(reading)] if reading else ["–"] * 3
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _seconds(rounds: list[dict[str, float]]) -> str:
    values = [item["seconds"] for item in rounds]
    spread = f" ({min(values):.2f}–{max(values):.2f})" if len(values) > 1 else ""
    return f"{statistics.median(values):.2f}{spread}"


def _mib(rounds: list[dict[str, float]]) -> str:
    return f"{max(item['mib'] for item in rounds):.0f}"


def main() -> None:
    """Install, measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "exports" / "cnn")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", action="append", choices=[*EXTRAS], help="an extra, may be repeated")
    parser.add_argument("--note", default="", help="a line under the table, such as: made under load")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = measure(options, Path(name))
    write(
        "installed", {"note": options.note, "rows": rows}, markdown(rows) + (f"\n{options.note}\n" * bool(options.note))
    )


if __name__ == "__main__":
    main()
