"""The ledger's records, for a person: counted, shown, verified, pruned, carried elsewhere, and saved."""
