"""The names of the files in an export folder, `exports/<model>/`; the stages share nothing else."""

from pathlib import Path

MODEL = "model.keras"
TRAINING = "training.json"
MANIFEST = "manifest.json"
REFERENCE = "reference.npz"
VERIFY = "verify.json"
BENCH = "bench.json"
REPORT = "report"  # .html and .md
DEVICES = "devices"  # one folder a device, with its verify.json and bench.json

RELEASED = Path(__file__).parents[1] / "released"
"""The export folders that come with the package; in a checkout a link to `exports/`."""
NETWORK = RELEASED / "edge"
"""The network that reads digits where nobody names another."""
