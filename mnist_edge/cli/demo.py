"""`mnist-edge demo`."""

from pathlib import Path

import click

from mnist_edge.cli.console import info
from mnist_edge.cli.options import PATH


@click.command("demo")
@click.argument("folder", type=PATH, required=False)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes any free one.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="0.0.0.0 lets other devices in your network open it.",
)
@click.option("--open", "browser", is_flag=True, help="Open it in the default browser.")
def command(folder: Path | None, port: int, host: str, browser: bool) -> None:
    """Serve a page on which you draw digits, and the exported files recognise them in your browser.

    Without a folder it serves the network edge that comes with mnist-edge. Its runtimes, onnxruntime-web and
    LiteRT.js, come by npm on first use.

    \b
    Example: mnist-edge demo exports/cnn --port 8080
    """
    from mnist_edge.core.folder import NETWORK
    from mnist_edge.core.manifest import Manifest
    from mnist_edge.web.runtime import install
    from mnist_edge.web.server import Server
    from mnist_edge.web.site import policy, site

    folder = folder or NETWORK
    Manifest.read(folder)  # before npm starts
    pages = site(folder, install(info))
    with Server(host, port, pages, policy(pages)) as server:
        if not server.loopback:
            info(
                "Warning: whoever is in this network can open the page and load the files, and nothing is encrypted. "
                "On another device it works while this runs; offline use needs localhost or https."
            )
        try:
            click.echo(f"{folder} is at {server.url} (Ctrl-C ends it)")
            if browser:
                import webbrowser

                webbrowser.open(server.url)
            server.serve_forever()
        except KeyboardInterrupt:
            info("\nStopped.")
