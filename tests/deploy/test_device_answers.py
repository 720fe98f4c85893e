"""What a board sends is held to its size and form before it is believed or shown. An `ssh` here plays the board."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import faults

from mnist_edge.cli import console, main
from mnist_edge.deploy import ssh
from mnist_edge.deploy.board import ProbeAnswer

SSH = """#!{python}
import json, pathlib, sys
sys.stdin.buffer.read()
answers = json.loads(pathlib.Path({answers!r}).read_text())
for part, (output, error, code) in answers.items():
    if part in sys.argv[-1]:
        sys.stdout.write("mnist-edge-answers\\n")
        sys.stdout.flush()
        sys.stdout.buffer.write(output.encode("latin-1") if output != "endless" else b"")
        sys.stdout.flush()
        while output == "endless":
            sys.stdout.buffer.write(bytes(1_000_000))
        sys.stderr.write(error)
        sys.exit(code)
print("mnist-edge-answers")
"""
HOST = {
    "cpu": "a board", "machine": "aarch64", "cores": 4, "governor": None, "temperature": None,
    "system": "Linux", "python": "3.11.2",
}  # fmt: skip
PROBE: dict[str, Any] = {
    "has": [], "python": "3.11", "machine": "aarch64", "bits": 64, "glibc": "2.36", "venv": True, "free": 10**10,
    "cache": "/home/pi/.cache/mnist-edge",
}  # fmt: skip
Outcome = tuple[int, str, str]
Play = Callable[..., Outcome]


@pytest.fixture(scope="module")
def folder(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`mlp` with one file."""
    return faults.only(exports / "mlp", tmp_path_factory.mktemp("answers") / "mlp", "mlp-int8.tflite")


def results(folder: Path, **changes: Any) -> dict[str, dict[str, Any]]:
    """Return a good `verify.json` and `bench.json`, with changes to the one file's verdict."""
    (artifact,) = json.loads((folder / "manifest.json").read_text())["artifacts"]
    file = {"file": artifact["file"], "sha256": artifact["sha256"]}
    verdict = {**file, "status": "PASS", "reasons": [], "comparison": None, "on_host": None, **changes}
    stats = dict.fromkeys(("p50_us", "p90_us", "p99_us", "fast_us", "fast_open"), 1.0) | {"runs": 1}
    timed = {**file, "runtime": "default", "batch": 1, "invoke": stats, "call": stats, "cold": None, "idle": None}
    run = {"model": "mlp", "notes": [], "warnings": [], "threads": 1, "versions": {}, "control": stats, "host": HOST}
    return {
        "verify.json": {"schema": 1, "results": [verdict], "checks": [], "sample": "1000", "host": HOST},
        "bench.json": {"schema": 2, "results": [timed], **run},
    }


@pytest.fixture
def play(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Play]:
    """Run `device run` with a board that gives certain answers: a part of the command → output, error, exit code."""
    monkeypatch.setattr(console.InterruptFlag, "watch", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (tmp_path / "ssh").write_text(SSH.format(python=sys.executable, answers=str(tmp_path / "answers")))
    (tmp_path / "ssh").chmod(0o755)

    def play(**given: Any) -> Outcome:
        good = {f"/bundle/{name}": [json.dumps(content), "", 0] for name, content in results(folder).items()}
        said = {"ensurepip": [json.dumps(PROBE), "", 0], **good, "mnist_edge verify": ["table\n", "", 0]}
        (tmp_path / "answers").write_text(json.dumps({**said, **given}))
        with pytest.raises(SystemExit) as ended:
            main(["device", "run", "board", str(folder)])
        printed = capsys.readouterr()
        assert printed.out.replace("\n", "").isprintable()
        assert printed.err.replace("\n", "").isprintable()
        return int(ended.value.code or 0), printed.out, printed.err

    yield play
    shutil.rmtree(folder / "devices", ignore_errors=True)


def test_good_answers_are_believed(folder: Path, play: Play) -> None:
    code, out, err = play()
    assert code == 0, err
    assert out == "table\n"
    assert (folder / "devices" / "board" / "verify.json").is_file()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(("verify.json", content) for content in ("", "{}", "[]", "\x00\xff\xfe", "[" * 50_000, "endless")),
        ("verify.json", '{"schema": 1, "results": []}'),
        ("verify.json", '{"schema": 1, "results": "PASS", "checks": [], "sample": "", "host": {}}'),
        *(("bench.json", content) for content in ("", "{}", "endless")),
    ],
)
def test_results_of_another_form_are_no_results(folder: Path, play: Play, name: str, content: str) -> None:
    code, out, err = play(**{f"/bundle/{name}": [content, "", 0]})
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("error: board")
    assert "Results are in" not in err
    assert not (folder / "devices" / "board" / name).exists()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"status": "FAIL"}, 1),
        ({"status": "GOOD"}, 2),
        ({"sha256": "0" * 64}, 2),
        ({"file": "other.tflite"}, 2),
        ({"reasons": 1}, 2),
    ],
)
def test_a_verdict_is_taken_from_the_results(folder: Path, play: Play, change: dict[str, Any], expected: int) -> None:
    content = json.dumps(results(folder, **change)["verify.json"])
    code, _, err = play(**{"/bundle/verify.json": [content, "", 0]})
    assert code == expected, err
    assert ("Results are in" in err) == (expected == 1)


@pytest.mark.parametrize(
    "change",
    [
        {"glibc": "2.999999999"}, {"glibc": 2.36}, {"machine": "--index-url=x"}, {"python": "3.11\x1b[31m"},
        {"bits": 128}, {"free": -1}, {"free": "much"}, {"cache": "relative"}, {"cache": "/a\nb"}, {"has": 1},
    ],
)  # fmt: skip
def test_what_a_board_says_of_itself_has_a_form(change: dict[str, Any]) -> None:
    ProbeAnswer.parse(json.dumps(PROBE))
    with pytest.raises(ValueError, match=next(iter(change))):
        ProbeAnswer.parse(json.dumps({**PROBE, **change}))


@pytest.mark.parametrize("said", ["", "{}", "[]", "\xff\x00", '{"python": "3.11"}', "[" * 50_000])
def test_a_board_that_does_not_say_what_it_is(play: Play, said: str) -> None:
    code, out, err = play(ensurepip=[said, "", 0])
    assert (code, out) == (2, "")
    assert "says of itself what no board does" in err.splitlines()[-1]


def test_escape_sequences_are_written_out(play: Play) -> None:
    attack = "\x1b]0;title\x07\x1b[2Jtable\n"
    code, out, _ = play(**{"mnist_edge verify": [attack, "", 0]})
    assert (code, out) == (0, "\\x1b]0;title\\x07\\x1b[2Jtable\n")
    code, _, err = play(**{"mnist_edge verify": ["", attack, 3]})
    assert code == 2
    assert "\\x1b[2Jtable" in err


def test_host_keys_are_checked_as_the_user_has_it(tmp_path: Path) -> None:
    words = " ".join(ssh.Connection("board", tmp_path)._ssh)
    assert not any(word in words for word in ("StrictHostKeyChecking", "UserKnownHostsFile", "HostKeyAlias"))
