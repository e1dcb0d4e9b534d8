"""Where answers come from: one file a provider, whose name is its name under ``models:``."""
