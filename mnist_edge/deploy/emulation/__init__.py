"""A board's userland under user-mode emulation."""
