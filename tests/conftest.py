"""Shared by all tests: real MNIST, recipes trained and exported once a run, what is left out, and no silent skip."""

import os
import re
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from support import faults
from support.commands import MODELS, ROOT, Run, locked, mnist_edge
from support.debian13 import Debian13, tree
from support.printed import App, npm, served

from mnist_edge.core.contract import IOOptions, Precision
from mnist_edge.core.errors import DataError
from mnist_edge.core.optional import installed
from mnist_edge.data import dataset as data
from mnist_edge.export import export_folder
from mnist_edge.export.inputs import load_inputs
from mnist_edge.export.plan import ExportPlan

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

os.environ["MNIST_EDGE_DEBUG"] = "1"  # a bug of ours shows where it is
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as our commands set it; some tests import Keras before our code
CHROMIUM = "/usr/bin/chromium"
FASHION = Path("/usr/share/datasets/fashion-mnist")
ON_CI = bool(os.environ.get("MNIST_EDGE_CI"))
NEEDS = {
    "fashion": "a Debian package",
    "browser": "a Debian package",
    "debian13": "a Debian tree",
    "runtime": "a runtime from npm",
    "node_modules": "a runtime from npm",
}
"""What fixtures need that `make test` does without; tests say it with `@pytest.mark.extra("a Debian package")`."""

LONGEST = (
    "test_device_emulated.py",
    "test_own_model.py",
    "test_networks.py",
    "test_device_ssh.py",
    "test_mcu.py",
    "test_page.py",
    "test_runtimes.py",
    "test_bundle.py",
    "test_known_faults.py",
    "test_snippet_foreign.py",
    "test_io_options.py",
    "test_export_folder.py",
    "test_cli.py",
    "test_architecture.py",
)
"""The files that take longest come first, so that no process is left alone with one of them at the end."""

stages: defaultdict[str, float] = defaultdict(float)
left_out: Counter[str] = Counter()


@pytest.fixture(scope="session")
def run() -> Run:
    """The command line."""
    return mnist_edge


@pytest.fixture(scope="session")
def mnist() -> data.Dataset:
    """Genuine MNIST, from wherever it can be had; the commands under test then find it in the cache."""
    try:
        dataset = data.load_mnist()
    except DataError as error:
        pytest.skip(f"no MNIST: {error}")
    assert dataset.genuine
    return dataset


def models_of(session: pytest.Session) -> tuple[str, ...]:
    """The recipes that the tests of a run need: two, and all four where a test is for one of the others."""
    texts = " ".join(item.nodeid for item in session.items)
    return MODELS if "-wide" in texts else ("cnn", "mlp")


def between_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a temporary folder that the processes of a run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def exports(mnist: data.Dataset, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with recipes that were trained with seed 0 and exported once a run; tests must not change it.

    MNIST_EDGE_TEST_EXPORTS names a folder in which they stay, for the next run to find them.
    """
    named = os.environ.get("MNIST_EDGE_TEST_EXPORTS")
    shared = Path(named) if named else between_processes(tmp_path_factory) / "trained"
    models = models_of(request.session)
    backwards = os.environ.get("PYTEST_XDIST_WORKER", "gw0") != "gw0"  # so that two processes train two recipes at once
    for model in reversed(models) if backwards else models:
        with locked(shared.with_name(f"{shared.name}-{model}.lock")):  # of two processes one trains it
            if (shared / model / "manifest.json").is_file():
                continue
            start = time.perf_counter()
            own = dict(os.environ)  # a process of its own: what TensorFlow prints when it is imported is looked at too
            done = mnist_edge("export", "--all", "--model", model, "--out", shared, env=own)
            stages[f"train and export {model}"] = time.perf_counter() - start
            for noise in ("oneDNN", "WARNING", "cudart", "absl", "I0000", "W0000", "XNNPACK delegate"):
                assert noise not in done.stdout + done.stderr
    return shutil.copytree(shared, tmp_path_factory.getbasetemp() / "exports")


@pytest.fixture(scope="session")
def mcu(exports: Path, mnist: data.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recipes for microcontrollers, and `cnn` with logits too; made once a run, tests must not change it."""
    if not installed("tflite_micro"):
        pytest.skip("TensorFlow Lite Micro is not here: pip install '.[mcu]'")
    out = between_processes(tmp_path_factory) / "exports-for-mcu"
    with locked(out.with_name("mcu.lock")):
        if not out.is_dir():
            part = tmp_path_factory.mktemp("mcu")
            _export_for_mcu(exports, mnist, part)
            part.replace(out)
    return out


def _export_for_mcu(exports: Path, mnist: data.Dataset, out: Path) -> None:
    plan = ExportPlan(tuple((name, Precision.INT8) for name in ("tflite", "c")), IOOptions(full_integer=True))
    for model in ("cnn", "mlp"):
        faults.only(exports / model, out / model, "")
        for path in (*(out / model).glob("*.tflite"), *(out / model).glob("*.onnx")):
            path.unlink()
        if model != "cnn":
            export_folder(load_inputs(out / model, mnist), plan)
    done = mnist_edge("export", "--target", "mcu", "--out", out)
    assert "Left out" not in done.stderr
    assert re.search(r"Note: cnn-int8-io8\.c: [\d,]+ bytes of flash .* bytes of arena in RAM", done.stderr)
    mnist_edge("export", "--target", "mcu", "--head", "logits", "--out", out)


@pytest.fixture(scope="session")
def fashion() -> Path:
    """Fashion-MNIST's IDX files, from Debian's package."""
    if not FASHION.is_dir():
        pytest.skip("Fashion-MNIST is not here: apt-get install dataset-fashion-mnist")
    return FASHION


@pytest.fixture(scope="session")
def debian13(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Debian13]:
    """A Debian 13 tree with compilers and ONNX Runtime; made once a run."""
    folder = tmp_path_factory.mktemp("debian13")
    yield tree(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def runtime() -> Path:
    """The demo page's runtimes, fetched by npm if they are not in the cache."""
    from mnist_edge.web.runtime import install

    if shutil.which("npm") is None:
        pytest.skip("npm is not here: apt-get install npm")
    return install()


@pytest.fixture(scope="module")
def address(exports: Path, runtime: Path) -> Iterator[str]:
    """The demo page of `cnn`."""
    from support.drawing import demo

    with demo(exports / "cnn") as (url, _):
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Debian's Chromium, headless; to it phone.test is this machine, by a name that browsers do not trust."""
    from playwright.sync_api import sync_playwright

    if not Path(CHROMIUM).is_file():
        pytest.skip("Chromium is not here: apt-get install chromium")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--host-resolver-rules=MAP phone.test 127.0.0.1"]
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield found
        found.close()


@pytest.fixture
def context(browser: "Browser") -> Iterator["Callable[..., BrowserContext]"]:
    """Make browser contexts in which any request outside loopback, and any error on the page, fails the test."""
    asked: list[str] = []
    errors: list[str] = []
    made: list[BrowserContext] = []

    def make(**options: Any) -> "BrowserContext":
        found = browser.new_context(**options)
        found.on("request", lambda request: asked.append(request.url))
        found.on("weberror", lambda error: errors.append(str(error.error)))
        made.append(found)
        return found

    yield make
    for found in made:
        found.close()
    assert asked
    assert {urlsplit(url).hostname for url in asked if not url.startswith(("data:", "blob:"))} == {"127.0.0.1"}
    assert not errors


@pytest.fixture
def page(context: "Callable[..., BrowserContext]", address: str) -> "Page":
    """The demo page of `cnn` on a wide screen."""
    from support.drawing import opened

    return opened(context(viewport={"width": 1280, "height": 800}), address)


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What the Node example installs."""
    folder = tmp_path_factory.mktemp("node")
    yield npm(ROOT / "examples" / "node", folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def app(browser: "Browser", tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Chromium, on a folder with onnxruntime-web and LiteRT.js."""
    folder = tmp_path_factory.mktemp("app")
    npm(ROOT / "mnist_edge" / "web" / "static", folder)
    with served(folder) as address:
        opened = App(browser.new_page(), folder, address)
        yield opened
        opened.page.close()
    shutil.rmtree(folder)
    assert opened.asked
    assert [url for url in opened.asked if not url.startswith((opened.address, "blob:", "data:"))] == []
    assert not opened.errors


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `extra` the tests whose fixtures need more than Python packages, and those of the two larger recipes."""
    for item in items:
        needs = {NEEDS[name] for name in getattr(item, "fixturenames", ()) if name in NEEDS}
        if "-wide" in item.nodeid:
            needs.add("the two larger recipes")
        if item.path.name == "test_known_faults.py" and "cnn" in item.nodeid:
            needs.add("a quarter of a minute or more")
        for need in needs:
            item.add_marker(pytest.mark.extra(need))
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count what `make test` leaves out, by need."""
    for item in items:
        for marker in item.iter_markers("extra"):
            left_out[marker.args[0]] += 1


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Add up the time of each test file, fixtures included."""
    start = time.perf_counter()
    yield
    stages[item.path.name] += time.perf_counter() - start


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Under MNIST_EDGE_CI a skip is a failure; one of two processes hands its times over."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["stages"], session.config.workeroutput["left_out"] = dict(stages), dict(left_out)
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if ON_CI and reporter is not None and reporter.stats.get("skipped") and session.exitstatus == 0:
        session.exitstatus = 1


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the times of a process that has ended."""
    for name, seconds in getattr(node, "workeroutput", {}).get("stages", {}).items():
        stages[name] += seconds
    for name, count in getattr(node, "workeroutput", {}).get("left_out", {}).items():
        left_out[name] = count  # every process collects all tests


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the time of each stage, and say under CI that skips failed the run."""
    terminalreporter.section("time of each stage")
    for name, seconds in stages.items():
        terminalreporter.write_line(f"{seconds:8.1f} s  {name}")
    for need, count in sorted(left_out.items()):
        terminalreporter.write_line(f"left out, as they need {need}: {count} tests. Run all of them: make test-all")
    if ON_CI and (skipped := terminalreporter.stats.get("skipped")):
        terminalreporter.write_line(f"MNIST_EDGE_CI: {len(skipped)} skipped, which fails this run", red=True)
