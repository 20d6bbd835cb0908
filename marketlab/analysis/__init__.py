"""Pure functions from a table to a table, the same on every engine."""
