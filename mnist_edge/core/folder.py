"""The names of the files in an export folder, `exports/<model>/`; the stages share nothing else."""

MODEL = "model.keras"
TRAINING = "training.json"
MANIFEST = "manifest.json"
REFERENCE = "reference.npz"
VERIFY = "verify.json"
BENCH = "bench.json"
REPORT = "report"  # .html and .md
DEVICES = "devices"  # one folder a device, with its verify.json and bench.json
