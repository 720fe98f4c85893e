"""`bench` of files that take several images a call, in the table, in JSON and in the report."""

import io
import json
import shutil
from pathlib import Path

from rich.console import Console

from mnist_edge.bench.benchmark import BenchOptions, bench
from mnist_edge.core.contract import IOOptions, Precision
from mnist_edge.data.dataset import load_mnist
from mnist_edge.export import export_folder
from mnist_edge.export.inputs import load_inputs
from mnist_edge.export.plan import ExportPlan
from mnist_edge.report import json as report_json
from mnist_edge.report.bench_tables import bench_table
from mnist_edge.report.html import render
from mnist_edge.report.stored import BenchResults
from mnist_edge.verify.verify import verify


def test_a_file_of_batch_eight_is_measured_by_the_image_and_compared_with_its_like(
    exports: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mlp"
    folder.mkdir()
    for name in ("model.keras", "training.json"):
        shutil.copy(exports / "mlp" / name, folder)
    dataset = load_mnist()
    export_folder(load_inputs(folder, dataset), ExportPlan((("onnx", Precision.FLOAT32),)))
    export_folder(load_inputs(folder, dataset), ExportPlan((("onnx", Precision.INT8),), IOOptions(batch=8)))
    report = bench(folder, BenchOptions(runs=25, processes=1, starts=0))
    by_batch = {latency.batch: latency for latency in report.latencies}
    assert set(by_batch) == {1, 8}
    assert by_batch[8].per_image == by_batch[8].call.p50 / 8
    assert report.slower_than_float() == []  # eight images are not compared with one
    console = Console(width=120, file=io.StringIO())
    console.print(bench_table(report))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Latency in µs a call" in text
    assert "images/s" in text
    content = report_json.bench(report)
    assert [item["batch"] for item in content["results"]] == [latency.batch for latency in report.latencies]
    (folder / "bench.json").write_text(json.dumps(content))
    stored = BenchResults.read(folder)
    assert stored is not None
    pages = render(verify(folder, images=1000), stored)
    assert "| mlp-int8-batch8.onnx | 8 | 25 |" in pages[".md"]
