"""An exchange session turns frames into records and commands; one file per exchange, no I/O."""
