"""The composition root: wires streams, stores and the local exchange."""
