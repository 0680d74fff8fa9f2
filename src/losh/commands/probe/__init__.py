"""The probe: what a prediction does when the sentence speaks of another object's action."""

from losh.commands.probe.run import probe

__all__ = ["probe"]
