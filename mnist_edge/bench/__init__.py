"""Latency, and the state of the machine around it."""
