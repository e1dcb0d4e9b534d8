"""What stands between a step and a model: requests and replies, the ledger, the client."""
