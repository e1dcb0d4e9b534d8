"""Make training data with AI feedback, governed by principles that people can read, and train on it."""

__version__ = "0.1.0"
