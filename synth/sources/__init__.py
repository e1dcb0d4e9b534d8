"""Sources: steps in which rows begin from files."""
