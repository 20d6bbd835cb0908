"""A store accepts tables and gives them back; a writer makes sure that it got them."""
