"""What to know before and after a constitution is edited: what is odd in it, what changed, what it costs."""
