"""Convert a network for one runtime and read the test images with it; in a process of its own, which may crash.

python -m peers.step NETWORK.json PEER PRECISION FOLDER     (writes FOLDER/step.json)
python -m peers.step NETWORK.json also FILE FOLDER [RANGE]
"""

import json
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from peers import also
from peers.network import Network, accuracy


def main() -> None:
    """Do one of the two and write what came out."""
    network, folder = Network.read(Path(sys.argv[1])), Path(sys.argv[4])
    peer, precision = sys.argv[2:4]
    start = time.perf_counter()
    row: dict[str, Any] = {"peer": peer, "precision": precision}
    if peer == "also":
        files = (Path(precision),)
        train = network.arrays["train"], network.arrays["train_labels"]
        row["range"] = sys.argv[5] if len(sys.argv) > 5 else also.range_of(files[0], *train)
        call = also.open_call(files[0], row["range"])
    else:
        module = import_module(f"peers.{peer}")
        files = module.ROUTES[precision](network, folder)
        row["convert_s"] = time.perf_counter() - start
        call = module.open_call(files[0])
    row |= {"path": str(files[0]), "bytes": sum(file.stat().st_size for file in files)}
    row["accuracy"] = accuracy(call, network.arrays["test"], network.arrays["test_labels"])
    (folder / "step.json").write_text(json.dumps(row), encoding="utf-8")


if __name__ == "__main__":
    main()
