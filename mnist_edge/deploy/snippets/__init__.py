"""The least code that embeds one exported file in an app, filled in from its contract.

A format's folder has `snippets/LANGUAGE.txt`, or `snippets/any.txt` for all languages. `$name` stands for a value; a
line `@flag|…` is kept where the flag holds: the input's dtype, `gives` with the output's, `fixed` or `any` batch,
`logits` or `plain`, `quantized` or `real` output, `unsaid` contract. A line `!flag|…` says why there is no code where
the flag holds, `!|…` why there is none at all.
"""

import math
import re
from collections.abc import Iterable
from pathlib import Path
from string import Template
from urllib.parse import quote

from mnist_edge.core.contract import Contract, TensorSpec
from mnist_edge.core.errors import ArtifactError, SnippetError
from mnist_edge.core.manifest import Artifact, find_artifact
from mnist_edge.core.reading import reading
from mnist_edge.core.typed_json import parse
from mnist_edge.formats import FORMATS, format_of
from mnist_edge.formats.base import Format
from mnist_edge.formats.first_look import first_look
from mnist_edge.formats.inspection import tensor_text

ORT_TYPES = {"uint8": "UINT8", "float32": "FLOAT"}
PIXELS = {"uint8": 0, "int8": -128}  # the zero points with which a step is a grey level
ESCAPES = {"python": "\\U{:08x}", "js": "\\u{{{:x}}}", "node": "\\u{{{:x}}}"}  # C and C++ have bytes in octal
TAKES = "give raw grey pixels on standard input, white on black, 28×28 bytes an image and {} bytes a call"
UNSAID = "The file does not say what its numbers mean: the code takes it for {} in and {} out."


def snippet(path: Path, language: str) -> str:
    """Return the source text of a small program, or for a browser a module, that runs exactly this file.

    Raises:
        SnippetError: there is no code for this file in that language.
        ArtifactError, FolderError, MissingRuntime: the file cannot be read, or is not what its manifest says.
    """
    file_format = format_of(path)
    if not path.is_file():
        raise ArtifactError(f"there is no file {path}.")
    lines = _template(file_format, language)
    _refuse(lines, {""}, path)
    contract, said = _contract(path, file_format)
    flags = _flags(path, contract) | (set() if said else {"unsaid"})
    _refuse(lines, flags, path)
    if not any(line.startswith(f"@{contract.input.dtype}|") for line in lines):
        raise SnippetError(f"{path.name} takes {contract.input.dtype}, for which there is no code in {language}.")
    return Template("".join(_kept(lines, flags))).substitute(_values(path, contract, language))


def unsupported_reason(artifact: Artifact, language: str) -> str | None:
    """Return why there is no code for a file of a manifest in that language; None where there is."""
    try:
        lines = _template(FORMATS.get(artifact.format), language)
        _refuse(lines, {""} | _flags(artifact.path, artifact.contract), artifact.path)
    except SnippetError as error:
        return str(error)
    return None


def _template(file_format: Format | None, language: str) -> list[str]:
    templates = (file_format.folder / "snippets" / f"{name}.txt" for name in (language, "any")) if file_format else ()
    template = next((candidate for candidate in templates if candidate.is_file()), None)
    if template is None:
        raise SnippetError(f"there is no code for {file_format.suffix if file_format else 'such'} files in {language}.")
    return template.read_text(encoding="utf-8").splitlines(keepends=True)


def _refuse(lines: Iterable[str], flags: set[str], path: Path) -> None:
    for line in lines:
        flag, _, reason = line.partition("|")
        if line.startswith("!") and flag[1:] in flags:
            raise SnippetError(f"no code for {path.name}: {reason.strip()}")


def _kept(lines: Iterable[str], flags: set[str]) -> Iterable[str]:
    for line in lines:
        flag, _, rest = line.partition("|")
        if not line.startswith(("@", "!")):
            yield line
        elif line.startswith("@") and flag[1:] in flags:
            yield rest


def _contract(path: Path, file_format: Format) -> tuple[Contract, bool]:
    """Return a file's contract, and whether it is stated; else it is made of the file's input and output."""
    artifact = find_artifact(path)
    first_look(path, file_format, artifact.sha256 if artifact else None)
    if artifact:
        return artifact.contract, True
    with file_format.open(path) as runner:
        specs = runner.io_specs
    assert specs is not None, "a format that has code has a runtime that knows input and output"
    described = file_format.describe(path)
    if described.external_files:
        raise SnippetError(
            f"{path.name} has weights in other files ({', '.join(described.external_files)}), "
            "which no app of one file finds. "
            "Store them inside: python3 -c \"import onnx; onnx.save(onnx.load('in.onnx'), 'out.onnx')\""
        )
    text = described.metadata.get("contract")
    if text is None:
        return Contract(*specs, layout=""), False
    with reading(ArtifactError, f"the contract in {path} cannot be read"):
        contract = Contract.from_json(parse(text))
        mismatches = contract.mismatches(specs)
    if mismatches:
        raise ArtifactError(f"{path} breaks the contract that it carries: {'; '.join(mismatches)}. Export it again.")
    return contract, True


def _flags(path: Path, contract: Contract) -> set[str]:
    """Return what the template's lines depend on. Raises SnippetError where the numbers cannot be computed."""
    source, sink = contract.input, contract.output
    if source.scale is not None:
        by_grey_level = math.isclose(source.scale * 255, 1, rel_tol=1e-4)
        if not by_grey_level or source.zero_point != PIXELS.get(source.dtype):
            raise SnippetError(
                f"{path.name} takes {source.dtype} with scale {source.scale:.6g} and zero point {source.zero_point}, "
                "which is not one step a grey level."
            )
    elif source.dtype == "int8":
        raise SnippetError(f"{path.name} takes int8 and does not say what its numbers mean.")
    if len(sink.shape) != 2 or (sink.dtype != "float32" and sink.scale is None):
        raise SnippetError(f"{path.name} gives {tensor_text(sink)}: not ten numbers an image whose meaning is known.")
    if "\0" in source.name + sink.name:
        raise SnippetError(
            f"{path.name} has a null character in the name of an input or output, which no C string can have."
        )
    flags = {source.dtype, f"gives {sink.dtype}", "any" if source.shape[0] is None else "fixed"}
    flags |= {"real" if sink.scale is None else "quantized"}
    return flags | ({"logits"} if _logits(sink) else {"plain"})


def _values(path: Path, contract: Contract, language: str) -> dict[str, object]:
    """Return what stands for the `$names`; an `any` batch is counted from the pixels, in C and C++ it is 1."""
    source, sink = contract.input, contract.output
    name = _comment(path.name)
    batch, rest = source.shape[0], ", ".join(str(size or 1) for size in source.shape[1:])
    return {
        "given": f"{name} takes {_comment(tensor_text(source))};",
        "gives": f"gives {_comment(tensor_text(sink))}.",
        "unsaid": UNSAID.format(
            "pixels / 255" if source.dtype == "float32" else "pixels", "logits" if _logits(sink) else "probabilities"
        ),
        "name": name,
        "file": _quoted(path.name, language),
        "url": _quoted(quote(path.name), language),
        "input": _quoted(source.name, language),
        "output": _quoted(sink.name, language),
        "ortype": ORT_TYPES.get(source.dtype),
        "bytes": (batch or 1) * 784,
        "takes": TAKES.format((batch or 1) * 784),
        "one_batch": batch or 1,
        "count": "N" if batch is None else batch,
        "pixels": "N × 784" if batch is None else batch * 784,
        "free_shape": f"{-1 if batch is None else batch}, {rest}",
        "rest_shape": rest,
        "length_shape": f"{'pixels.length / 784' if batch is None else batch}, {rest}",
        "rank": len(source.shape),
        "scale": sink.scale,
        "minus_zero_point": f"{-(sink.zero_point or 0):+d}".replace("+", "+ ").replace("-", "- "),
    }


def _logits(sink: TensorSpec) -> bool:
    return sink.name == "logits"


def _comment(text: str) -> str:
    """Write a string so that it stays in a comment of one line, and is no encoding to Python (`# coding=…`)."""
    shown = "".join(char if char.isprintable() else "�" for char in " ".join(text.split()))
    return re.sub(r"coding(?=[:=])", "coding ", shown)


def _quoted(text: str, language: str) -> str:
    """Write a string literal; what does not print is escaped, so that the code shows all that it says."""
    return f'"{"".join(_escaped(char, language) for char in text)}"'


def _escaped(char: str, language: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if language in ESCAPES:
        return char if char.isprintable() else ESCAPES[language].format(ord(char))
    if char == "?":
        return "\\?"  # ?? begins a trigraph in ISO C
    return char if char.isprintable() else "".join(f"\\{byte:03o}" for byte in char.encode())
