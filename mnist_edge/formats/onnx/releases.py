"""Says which ONNX Runtime reads a file, and in plain words why one does not."""

import re

from mnist_edge.core.text import one_line

# The newest opset and IR version that each release of ONNX Runtime reads: up to 1.18 from its compatibility page, from
# there on tried out with files of each version.
RELEASES = (
    ("1.0", 10, 5),
    ("1.2", 11, 6),
    ("1.3", 12, 7),
    ("1.6", 13, 7),
    ("1.8", 14, 7),
    ("1.9", 15, 8),
    ("1.11", 16, 8),
    ("1.12", 17, 8),
    ("1.14", 18, 8),
    ("1.15", 19, 9),
    ("1.17", 20, 9),
    ("1.18", 21, 10),
    ("1.21", 22, 10),
    ("1.23", 23, 11),
    ("1.24", 25, 13),
    ("1.25", 26, 13),
)
NEWEST = "1.31"  # the newest release that was tried out; it reads what 1.25 does
REASONS = (
    (r"Unsupported model IR version: (\d+), max supported IR version: (\d+)", "its IR version {0} is newer than {1}"),
    (
        r"Opset (\d+) is under development.*domain (\S+) is till opset (\d+)",
        "its opset {0} of {1} is newer than {2}",
    ),
    (r"No opset import for domain '(.*?)'", "its operators of the domain {0} come without that domain's version"),
    (r"No Op registered for (\S+) with domain_version of (\d+)", "there is no operator {0} in opset {1}"),
    (
        r"Fatal error: (\S*?):(\S+?)\(-?\d+\) is not a registered function/op",
        "its operator {1} of the domain {0} is of no known library: only a runtime that was built with it has it",
    ),
    (r"Could not find an implementation for (\S+?)\((\d+)\)", "it has no code for {0} of opset {1} on this CPU"),
)


def oldest(opset: int, ir: int) -> str:
    """Return the name of the oldest ONNX Runtime that reads an opset and IR version."""
    for release, newest_opset, newest_ir in RELEASES:
        if opset <= newest_opset and ir <= newest_ir:
            return f"ONNX Runtime {release}, by its opset and IR version"
    return f"an ONNX Runtime after {NEWEST}, by its opset and IR version"


def refusal(message: str) -> str:
    """Return ONNX Runtime's reason for not loading a file; what is too new comes with the release that reads it."""
    text = " ".join(message.split())
    for pattern, words in REASONS:
        if found := re.search(pattern, text):
            values = found.groups()
            reads = ""
            if words.startswith("its IR"):
                reads = f": it takes {oldest(0, int(values[0])).partition(',')[0]}"
            elif words.startswith("its opset") and values[1] == "ai.onnx":
                reads = f": it takes {oldest(int(values[0]), 0).partition(',')[0]}"
            return words.format(*values) + reads
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    return one_line(re.sub(r"^Load model from .*? failed: ?", "", text), 200)
