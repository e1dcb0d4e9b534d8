"""A dataset version leaves this machine: what is pushed, where to, and how it is found again."""

from synth.publish.hub import Published, publish

__all__ = ["Published", "publish"]
