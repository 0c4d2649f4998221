"""The `kasal` command."""
