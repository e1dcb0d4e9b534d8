"""Trainings: what can be learnt from a version. One file each, over TRL."""
