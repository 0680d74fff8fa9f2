"""The ablation of the method's parts: rows as DVC experiments, a table and a picture."""

from losh.commands.ablation.queue import queue
from losh.commands.ablation.show import show

__all__ = ["queue", "show"]
