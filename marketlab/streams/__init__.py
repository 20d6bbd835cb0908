"""Drives sessions over real sockets and REST, heals what breaks, and fans records out."""
