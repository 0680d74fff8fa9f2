"""Stage parse_text: the short expression of each long one, which names the subject alone."""

from losh.short_text.parse import parse_text, short_text_csv
from losh.short_text.rule import Mode, Short
from losh.short_text.shorten import shorten

__all__ = ["Mode", "Short", "parse_text", "short_text_csv", "shorten"]
