"""One archive with all that a board needs: the artifacts, what they are checked with, our own wheel, and a README."""

import gzip
import io
import shlex
import tarfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from mnist_edge import __version__
from mnist_edge.core.contract import Precision
from mnist_edge.core.errors import DeviceError, FolderError
from mnist_edge.core.files import atomic_write, new_folder, temporary_folder
from mnist_edge.core.folder import MANIFEST, REFERENCE
from mnist_edge.core.manifest import Artifact, Manifest
from mnist_edge.core.publish import reading_folder
from mnist_edge.core.system import System
from mnist_edge.deploy.boards import SYSTEMS, BoardSystem
from mnist_edge.deploy.wheels import NAME as OWN_WHEEL
from mnist_edge.deploy.wheels import download, requirements, write_wheel
from mnist_edge.formats import FORMATS

SUFFIX = ".tar.gz"
WHEELS = "wheels"
PYTHONS = "Python 3.11, 3.12 or 3.13"
README = """# {model} for {target}

Made by mnist-edge {version}. It needs {pythons}. Unpack on the board, then in this folder:

{commands}

`verify` says whether every file gives Keras's predictions, and whether this board computes what the exporting machine
did; `bench` says how fast. They leave verify.json and bench.json here. Bring these two into a folder at home, and
`mnist-edge report {home} --device FOLDER` shows both machines in one report.
"""


def runtimes(manifest: Manifest, system: System) -> dict[str, tuple[str, ...]]:
    """Return what pip has to install so that a folder's files run, by the extra of ours that stands for it.

    Raises:
        DeviceError: there is no wheel for any of its formats.
    """
    formats = dict.fromkeys(artifact.format for artifact in manifest.artifacts)
    runtimes = [FORMATS[name].runtime for name in formats if name in FORMATS]
    packages = {runtime.extra: runtime.on(system) for runtime in runtimes if runtime and runtime.on(system)}
    if not packages:
        raise DeviceError(f"no runtime of {', '.join(formats)} has a wheel for {system}.")
    return packages


def pinned(manifest: Manifest, system: System) -> list[str]:
    """Return the requirements of our package and the runtimes on a system, in the versions that exported the files."""
    versions = {name: version for item in manifest.artifacts for name, version in item.versions.items()}
    from packaging.requirements import Requirement

    wanted = requirements()
    for packages in runtimes(manifest, system).values():
        wanted |= {Requirement(package).name: package for package in packages}
    wanted = {name: text for name, text in wanted.items() if name not in system.provided}
    return [
        f"{name}=={versions[name]}" if name in versions and "==" not in text else text for name, text in wanted.items()
    ]


def bundle(
    folder: Path, path: Path, target: BoardSystem = SYSTEMS["rpi"], wheels_for: Iterable[System] = ()
) -> Manifest:
    """Write an archive of what runs on a board, whole or not at all; the same folder gives the same bytes.

    Args:
        folder: an export folder.
        path: the `.tar.gz` to write; it unpacks into a folder of the same name.
        target: the kind of system that the board has.
        wheels_for: systems whose wheels go in too, for a board without a network.

    Returns:
        The manifest in the archive.

    Raises:
        FolderError, ArtifactError: as `Manifest.read` and `Artifact.check` say.
        DeviceError: our package is not installed, or there is no such wheel.
    """
    if not path.name.endswith(SUFFIX):
        raise FolderError(f"{path} has to end in {SUFFIX}.")
    offline = tuple(wheels_for)
    with (
        reading_folder(folder) as place,
        new_folder(path.parent),
        temporary_folder(path.parent) as work,
        atomic_write(path) as temporary,
    ):
        manifest = Manifest.read(place)
        if not manifest.artifacts:
            raise FolderError(f"{folder} has no artifact to bundle. Export one: mnist-edge export")
        for artifact in manifest.artifacts:
            artifact.check()
        golden = manifest.check(REFERENCE)
        selected = _runnable(manifest, target.systems[0])
        if selected != manifest.artifacts:
            manifest = replace(manifest, folder=work, artifacts=selected)
            manifest.write()
        for system in offline:
            download(pinned(manifest, system), system, work / WHEELS)
        wheels = sorted((work / WHEELS).glob("*"))
        readme = work / "README.md"
        readme.write_text(_readme(manifest, target, offline), encoding="utf-8")
        paths = [path for artifact in selected for path in artifact.paths]
        files = {file.name: file for file in [readme, manifest.folder / MANIFEST, golden, *paths, write_wheel(work)]}
        _pack(temporary, path.name.removesuffix(SUFFIX), files | {f"{WHEELS}/{file.name}": file for file in wheels})
    return manifest


def _runnable(manifest: Manifest, system: System) -> tuple[Artifact, ...]:
    """Return the artifacts whose runtime has a wheel for a system. Raises DeviceError where there is none."""
    extras = runtimes(manifest, system)
    formats = [item for item in FORMATS.values() if item.runtime and item.runtime.extra in extras]
    return tuple(artifact for artifact in manifest.artifacts if artifact.format in {item.name for item in formats})


def _pack(path: Path, top: str, files: dict[str, Path]) -> None:
    """Write a `.tar.gz` of files by their names below the folder `top`, with the same bytes each time."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, file in files.items():
            data = file.read_bytes()
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))


def _pythons(system: System, offline: tuple[System, ...]) -> str:
    """Return the versions of Python on which a bundle can be installed, in words."""
    if offline:
        return f"Python {' or '.join(dict.fromkeys(item.python for item in offline))}, for which its wheels are"
    return f"Python {system.python}, for which alone there is a runtime" if system.arm32 else PYTHONS


def _readme(manifest: Manifest, target: BoardSystem, offline: tuple[System, ...]) -> str:
    system = target.systems[0]
    packages_of = runtimes(manifest, system)
    options = f"--no-index --find-links {WHEELS} " if offline else ""
    commands = ["sudo apt install python3-venv", "python3 -m venv mnist", ". mnist/bin/activate"]
    if system.arm32:  # PyPI has no NumPy for it, and our extras name packages that have no wheel there
        packages = " ".join(f"'{package}'" for packages in packages_of.values() for package in packages)
        commands[:2] = [f"{commands[0]} python3-numpy python3-pil", "python3 -m venv --system-site-packages mnist"]
        commands.append(f"pip install {options}./{OWN_WHEEL} {packages}")
    else:
        commands.append(f"pip install {options}'./{OWN_WHEEL}[{','.join(packages_of)}]'")
    fast = next((item.path.name for item in manifest.artifacts if item.precision is Precision.INT8), None)
    commands += ["mnist-edge verify .", "mnist-edge bench ."]
    commands += [f"mnist-edge predict photo.jpg --artifact {shlex.quote(fast)}"] if fast else []
    return README.format(
        model=manifest.model,
        target=target.title,
        version=__version__,
        home=shlex.quote(f"exports/{manifest.model}"),
        pythons=_pythons(system, offline),
        commands="\n".join(f"    {command}" for command in commands),
    )
