"""The command line of marketlab."""
