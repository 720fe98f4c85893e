"""The demo page: its site, its server and its runtimes."""
