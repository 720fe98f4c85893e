"""The virtual environment of the runtimes, with the versions of `requirements-peers.txt`."""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from peers import PEERS

FOLDER = Path(__file__).parent.parent
PINS = FOLDER / "requirements-peers.txt"
OURS = ("numpy", "click", "rich", "Pillow", "platformdirs", "cattrs", "packaging", "onnx")


def environment(venv: Path) -> dict[str, str]:
    """Return the variables of a process there: one thread, no reports to the makers, a home of its own."""
    home = venv / "home"
    consent = home / "intel" / "openvino_telemetry"
    consent.parent.mkdir(parents=True, exist_ok=True)
    consent.write_text("0", encoding="utf-8")  # OpenVINO's and NNCF's own way to say no
    paths = os.pathsep.join(map(str, (FOLDER.parent, FOLDER)))
    quiet = {"ORT_DISABLE_TELEMETRY": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
    return {**os.environ, "PYTHONPATH": paths, "HOME": str(home), **quiet}


def install(venv: Path) -> dict[str, str]:
    """Make the environment once; return the error of each peer that cannot be installed, one line each."""
    marker, pins = venv / "installed.json", PINS.read_text(encoding="utf-8")
    if marker.is_file() and (content := json.loads(marker.read_text(encoding="utf-8")))["pins"] == pins:
        return dict(content["errors"])
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    if error := _pip(venv, *OURS):
        raise SystemExit(f"pip cannot install {', '.join(OURS)}: {error}")
    errors = {}
    for name in PEERS:
        peer = import_module(f"peers.{name}")
        error = _pip(venv, *peer.PACKAGES) or (_pip(venv, "--no-deps", *peer.ALONE) if hasattr(peer, "ALONE") else "")
        if error:
            errors[name] = f"not installed: {error}"
    marker.write_text(json.dumps({"pins": pins, "errors": errors}), encoding="utf-8")
    return errors


def _pip(venv: Path, *packages: str) -> str:
    """Install packages; return the last line of the error, "" where there is none."""
    command = [str(venv / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    done = subprocess.run([*command, "-c", str(PINS), *packages], capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no message"]
    return "" if done.returncode == 0 else lines[-1]


def versions(venv: Path) -> dict[str, str]:
    """Return what is installed there."""
    command = [str(venv / "bin" / "python"), "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
    listed = subprocess.run(command, capture_output=True, check=True).stdout
    return {item["name"]: item["version"] for item in json.loads(listed)}
