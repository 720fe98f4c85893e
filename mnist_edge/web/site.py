"""The demo page as a site in memory: its own files, its runtimes, and the files of an export folder."""

import base64
import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mnist_edge.core.contract import IOOptions, Precision
from mnist_edge.core.errors import FolderError
from mnist_edge.core.folder import REFERENCE
from mnist_edge.core.manifest import Artifact, Manifest
from mnist_edge.core.metrics import logit_margins
from mnist_edge.core.reference import Reference
from mnist_edge.deploy.snippets import unsupported_reason
from mnist_edge.formats import FORMATS
from mnist_edge.formats.base import Format
from mnist_edge.verify.tolerances import tolerances_of
from mnist_edge.web.runtime import FILES, LOCK, STATIC
from mnist_edge.web.server import TYPES, Page, Site

SCHEMA = 1
CHECKED = 200
BROWSER = "browser.js"


def site(folder: Path, runtime: Path) -> Site:
    """Read all that is served, once: what goes out is what was checked.

    Args:
        folder: an export folder.
        runtime: where `web_runtime.install` has put the runtimes.

    Raises:
        FolderError: no manifest, or no file that a browser runs.
        ArtifactError, IntegrityError: a file is missing, or not the manifest's.
    """
    manifest = Manifest.read(folder)
    reference = Reference.read(manifest.check(REFERENCE))
    own = [path for path in sorted(STATIC.iterdir()) if path.suffix in TYPES and path.name not in LOCK]
    pages = {path.name: Page.of(path.read_bytes(), path.name) for path in own}
    pages |= {
        f"run-{item.name}.js": Page.of((item.folder / BROWSER).read_bytes(), BROWSER) for item in browser_formats()
    }
    pages |= {f"node_modules/{name}": Page.of((runtime / name).read_bytes(), name) for name in FILES}
    some = _checked(reference)
    pages["reference/images"] = Page.of(reference.images[some].tobytes(), "")
    files = []
    for artifact in _for_browsers(manifest):
        artifact.check()
        name = artifact.path.name
        pages[f"files/{name}"] = Page.of(artifact.path.read_bytes(), "")
        about = _about(artifact, reference)
        if about["host"]:
            pages[f"reference/{name}"] = Page.of(reference.outputs[name][some].astype("<f4").tobytes(), "")
        files.append(about)
    pages[""] = pages["index.html"]
    content = {
        "schema": SCHEMA,
        "model": manifest.model,
        "runtimes": json.loads((STATIC / "package.json").read_text(encoding="utf-8"))["dependencies"],
        "reference": "reference/images",
        "files": files,
        "offline": ["files.json", *map(_url, pages)],
    }
    identity = json.dumps(content) + "".join(page.sha256 for page in pages.values())
    content["version"] = hashlib.sha256(identity.encode()).hexdigest()
    pages["files.json"] = Page.of(json.dumps(content).encode(), "files.json")
    return pages


def policy(site: Site) -> str:
    """Return the Content-Security-Policy: nothing from elsewhere; WebAssembly and the page's one inline import map."""
    (inline,) = re.findall(rb'<script type="importmap">(.*?)</script>', site["index.html"].content, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(inline).digest()).decode()
    rules = {
        "default-src": "'none'",
        "script-src": f"'self' 'wasm-unsafe-eval' 'sha256-{digest}'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": "'self'",
        "worker-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _url(path: str) -> str:
    """Return a page's path as a browser asks for it: as the import map has it, or as `encodeURIComponent` writes it."""
    return quote(path, safe="/@" if path.startswith("node_modules/") else "/!'()*")


def browser_formats() -> list[Format]:
    """Return the formats that a browser can run: those whose folder has a `browser.js`."""
    return [item for item in FORMATS.values() if (item.folder / BROWSER).is_file()]


def _for_browsers(manifest: Manifest) -> list[Artifact]:
    """Return the files that the page can open, the one that it opens first in front.

    The templates of `snippet` know what a runtime in the browser refuses.
    """
    formats = [item.name for item in browser_formats()]
    artifacts = [
        item
        for item in manifest.artifacts
        if item.format in formats
        and unsupported_reason(item, "js") is None
        and item.contract.input.shape[0] in (1, None)
        and item.contract.output.name == IOOptions().head
    ]
    if not artifacts:
        raise FolderError(
            f"{manifest.folder} has no file for the page, which takes {' and '.join(f'.{name}' for name in formats)} "
            "files with probabilities, one image a call and no int8 input or output. "
            "Export one: mnist-edge export --int8"
        )
    return sorted(artifacts, key=lambda item: (item.precision is not Precision.INT8, formats.index(item.format)))


def _checked(reference: Reference) -> slice:
    """Return the places of the golden images that the page can check itself on, spread over all."""
    return slice(None, None, max(1, len(reference.labels) // CHECKED))


def _about(artifact: Artifact, reference: Reference) -> dict[str, Any]:
    """Return what the page has to know of a file; `host` is how far a browser may be from the exporting host."""
    name, precision = artifact.path.name, artifact.precision
    host = None
    if reference.sha256.get(name) == artifact.sha256:
        full_integer = artifact.contract.output.dtype == "int8"
        allowed = tolerances_of(
            precision, reference.keras_variation, logit_margins(reference.keras), full_integer, same_runtime=False
        )
        host = next(asdict(limit) for limit in allowed if limit.name == "host")
    return {
        "name": name,
        "format": artifact.format,
        "precision": precision,
        "bytes": artifact.bytes,
        "sha256": artifact.sha256,
        "contract": asdict(artifact.contract),
        "host": host,
    }
