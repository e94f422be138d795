"""Recipient files: what people upload, made a list of numbers to send to and a list of what was deleted.

`reading` is what others call. It starts `child` in a process of its own, which tells the `formats` apart,
takes column A out of a `workbook` or a `delimited` text, and makes `recipients` of it.
"""

from domain.recipient_file.errors import FileTooLarge, RecipientFileError, TooManyNumbers
from domain.recipient_file.reading import LIST_LIMIT, ReadLimits, read_recipients
from domain.recipient_file.recipients import Recipients, RejectedRow

__all__ = [
    "LIST_LIMIT",
    "FileTooLarge",
    "ReadLimits",
    "RecipientFileError",
    "Recipients",
    "RejectedRow",
    "TooManyNumbers",
    "read_recipients",
]
