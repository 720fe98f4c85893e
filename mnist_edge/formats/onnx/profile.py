"""The time of each operator of an `.onnx` file, by ONNX Runtime's own profiler."""

import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

from mnist_edge.core.errors import ArtifactError
from mnist_edge.core.reading import reading
from mnist_edge.core.text import one_line
from mnist_edge.formats.inspection import OperatorTime
from mnist_edge.formats.onnx.runtime import Runner
from mnist_edge.formats.runner import Images

KERNEL = "_kernel_time"


def operator_times(path: Path, images: Images, threads: int) -> tuple[OperatorTime, ...]:
    """Return the time of each operator over uint8 `[N, 28, 28]`, one call an image, the slowest first.

    It is the mean of the faster half of the calls: other work disturbs the slower ones, and the profiler's clock counts
    whole microseconds, which makes a median coarse. Raises ArtifactError.
    """
    with TemporaryDirectory() as folder:
        runner = Runner(path, threads, 1, enable_profiling=True, profile_file_prefix=str(Path(folder) / "profile"))
        for index in range(0, len(images), runner.batch):
            runner.run(images[index : index + runner.batch])
        with reading(ArtifactError, f"what ONNX Runtime measured of {path} cannot be read"):
            events = json.loads(Path(runner.end_profiling()).read_text(encoding="utf-8"))
            spent = defaultdict[tuple[str, str], list[int]](list)
            for event in events:
                if event.get("cat") == "Node" and event["name"].endswith(KERNEL):
                    key = one_line(event["name"].removesuffix(KERNEL)), one_line(event["args"]["op_name"])
                    spent[key].append(int(event["dur"]))
    times = (OperatorTime(*key, fmean(sorted(each)[: -(-len(each) // 2)])) for key, each in spent.items())
    return tuple(sorted(times, key=lambda item: -item.microseconds))
