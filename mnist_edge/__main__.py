"""`python -m mnist_edge`, and `mnist-edge`."""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)  # a Ctrl-C while this loads ends it; `main` says more from then on

from mnist_edge.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
