"""To a board: bundle, wheels, ssh, emulation, and code snippets for apps."""
