"""Files for microcontrollers that were changed: noticed by a digest, or failed after they were signed again."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from support import faults
from support.commands import Run

from mnist_edge.core.errors import ArtifactError, IntegrityError
from mnist_edge.core.files import sha256
from mnist_edge.formats import FORMATS
from mnist_edge.formats.c_array import source as c_source
from mnist_edge.verify.result import Status
from mnist_edge.verify.verify import verify

pytestmark = pytest.mark.extra("a quarter of a minute or more")


@pytest.mark.parametrize("suffix", ["c", "h"])
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_one_changed_bit_is_noticed(mcu: Path, tmp_path: Path, run: Run, suffix: str, place: float) -> None:
    folder = shutil.copytree(mcu / "mlp", tmp_path / "mlp")
    path = folder / f"mlp-int8-io8.{suffix}"
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=f"{path.name} was changed"):
        verify(folder, images=1000)
    path.unlink()
    with pytest.raises(ArtifactError, match="not on disk"):
        verify(folder, images=1000)


def change(path: Path, old: str, new: str) -> None:
    """Replace what stands in a file once."""
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def signed(mcu: Path, target: Path) -> Path:
    """Return a copy of `mlp` with the array alone and no Keras model; `faults.resign` signs what is changed then."""
    folder = faults.only(mcu / "mlp", target / "mlp", "mlp-int8-io8.c")
    (folder / "model.keras").unlink()
    return folder / "mlp-int8-io8.c"


def test_a_changed_array_fails_also_when_signed_again(mcu: Path, tmp_path: Path) -> None:
    path = signed(mcu, tmp_path)
    first = next(line for line in path.read_text().splitlines() if line.startswith("0x"))
    change(path, f"{{\n{first}", f"{{\n0x55{first[4:]}")
    faults.resign(path.parent, path.name)
    (result,) = verify(path.parent, images=1000).results
    assert result.status is Status.FAIL
    assert "has not the SHA-256 that stands below it" in result.reasons[0]


def test_a_changed_header_fails_also_when_signed_again(mcu: Path, tmp_path: Path) -> None:
    path = signed(mcu, tmp_path)
    change(path.with_suffix(".h"), "INPUT_ZERO_POINT (-128)", "INPUT_ZERO_POINT (0)")
    manifest = path.parent / "manifest.json"
    content = json.loads(manifest.read_text())
    (entry,) = content["artifacts"]
    header = path.with_suffix(".h")
    entry["companions"] = {header.name: {"bytes": header.stat().st_size, "sha256": sha256(header)}}
    manifest.write_text(json.dumps(content))
    (result,) = verify(path.parent, images=1000).results
    assert result.status is Status.FAIL
    assert "is not what belongs to the array" in result.reasons[0]


def test_another_networks_array_fails_as_its_counterpart_does_not(mcu: Path, tmp_path: Path) -> None:
    """A whole and healthy array, but with a class exchanged: TFLite and TensorFlow Lite Micro then disagree."""
    folder = shutil.copytree(mcu / "mlp", tmp_path / "mlp")
    path = folder / "mlp-int8-io8.c"
    content, told = c_source.read(path)
    whole = bytearray(content)
    with FORMATS["c"].open(path):
        pass
    bias = _last_bias(content)
    whole[bias : bias + 40] = np.roll(np.frombuffer(content, np.int32, 10, bias), 1).tobytes()
    told.pop("title")  # the header is not held to an array that does not name it
    path.write_text(c_source.source(path.stem, bytes(whole), {**told, "sha256": c_source.digest(bytes(whole))}))
    faults.resign(folder, path.name)
    report = verify(folder, images=1000)
    (check,) = [check for check in report.checks if "Micro" in check.name]
    assert check.status is Status.FAIL
    assert "gives another class than mlp-int8-io8.tflite on" in check.detail


def _last_bias(content: bytes) -> int:
    """Find the ten int32 of the last layer's bias."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    last = [graph.Operators(index) for index in range(graph.OperatorsLength())][-2]
    data = model.Buffers(graph.Tensors(last.Inputs(2)).Buffer()).DataAsNumpy()
    assert data.size == 40
    return content.index(data.tobytes())


def test_an_arena_that_is_too_small_fails(mcu: Path, tmp_path: Path) -> None:
    path = signed(mcu, tmp_path)
    _, told = c_source.read(path)
    change(path, f'"arena": {told["arena"]}', f'"arena": {told["arena"] - 16}')
    faults.resign(path.parent, path.name)
    (result,) = verify(path.parent, images=1000).results
    assert result.status is Status.FAIL
    assert "bytes of arena" in result.reasons[0]
