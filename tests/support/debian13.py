"""A Debian 13 tree with compilers and ONNX Runtime, as a Pi owner has them, entered without root."""

import subprocess
from pathlib import Path

import pytest

from mnist_edge.core.errors import DeviceError
from mnist_edge.deploy.emulation.debian import unpack

PACKAGES = ("g++", "cmake", "make", "pkg-config", "libonnxruntime-dev", "dash", "coreutils")
SANITIZED = "-g -O1 -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover"
ENTER = """
mount --rbind /proc "$0/proc"; mount --rbind /dev "$0/dev"; mount --bind "$1" "$0/src"
exec /usr/sbin/chroot "$0" /bin/env -i PATH=/bin HOME=/src CFLAGS="$3" CXXFLAGS="$3" /bin/sh -euc "cd /src/$4; $2"
"""


class Debian13:
    """The tree; what runs in it is root there and nobody outside."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree

    def run(self, command: str, folder: Path, inside: str = "", stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        """Run a shell command in `inside` of `folder`; compilers get the sanitizers."""
        arguments = [self.tree, folder, command, SANITIZED, inside]
        enter = ["unshare", "--map-root-user", "--mount", "/bin/sh", "-euc", ENTER, *map(str, arguments)]
        done = subprocess.run(enter, input=stdin, capture_output=True, check=False)
        return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def tree(folder: Path) -> Debian13:
    """Make the tree in `folder`, or skip with what is missing."""
    if subprocess.run(["unshare", "--map-root-user", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces here, so a Debian 13 tree cannot be entered: sysctl user.max_user_namespaces")
    root = folder / "tree"
    try:
        unpack("trixie", "amd64", PACKAGES, root)
    except DeviceError as error:
        pytest.skip(f"no Debian 13 tree: {error}")
    for name, target in {"lib64": "usr/lib64", "usr/bin/cc": "gcc", "usr/bin/c++": "g++"}.items():
        (root / name).symlink_to(target)  # as Debian's own installer and its alternatives would
    for name in ("proc", "dev", "src", "tmp"):
        (root / name).mkdir(exist_ok=True)
    return Debian13(root)
