"""How far a judge can be trusted: judges against people, and judges against themselves."""
