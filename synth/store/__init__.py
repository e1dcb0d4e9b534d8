"""Versions of a dataset: rows in the shapes that consumers want, named by what they hold."""
