"""Why a recipient file can't be read, each with what to do about it.

RecipientFileError
├── OldExcelFile          .xls, from before Excel 2007
├── EncryptedFile         opens with a password
├── PdfFile
├── WordFile
├── NotAWorkbook          another zip archive: .ods, .xlsb, .pptx, .zip
├── NotAList              pictures, web pages and all else that is neither workbook nor text
├── DamagedWorkbook       an .xlsx cut short or broken
├── DamagedText           a quotation mark without its partner
├── NumbersInOneLine      the numbers stand side by side
├── EmptyFile             no row with anything in column A
├── TooDemanding          reading it exceeds its share of memory or time
├── TooManyNumbers        FILE_TOO_LARGE
└── FileTooLarge          FILE_TOO_LARGE
"""

from __future__ import annotations

FILE_UNREADABLE = "FILE_UNREADABLE"
FILE_TOO_LARGE = "FILE_TOO_LARGE"


class RecipientFileError(Exception):
    """A recipient file that can't be used. `code` is FILE_UNREADABLE or FILE_TOO_LARGE."""

    code = FILE_UNREADABLE
    text = "The file can't be read."

    def __init__(self, *details: int) -> None:
        super().__init__(*details)
        self.details = details

    def __str__(self) -> str:
        return self.message

    @property
    def message(self) -> str:
        """What is wrong and what its owner can do."""
        return self.text.format(*self.details)


class OldExcelFile(RecipientFileError):  # noqa: N818 - these name what was found
    """An .xls file."""

    text = (
        'This is an Excel file of the old format (.xls). In Excel choose "Save As" and the type '
        '"Excel Workbook (*.xlsx)", then upload the new file.'
    )


class EncryptedFile(RecipientFileError):  # noqa: N818
    """An Office file that opens with a password."""

    text = (
        'The file is protected with a password. In Excel choose "Info", "Protect Workbook", "Encrypt with '
        'Password", leave the password empty, save the file as .xlsx and upload it again.'
    )


class PdfFile(RecipientFileError):  # noqa: N818
    """A PDF, whatever its name."""

    text = "This is a PDF file. Copy the numbers into column A of an Excel workbook and save it as .xlsx."


class WordFile(RecipientFileError):  # noqa: N818
    """A Word document, whatever its name."""

    text = (
        "This is a Word document. Copy the numbers into column A of an Excel workbook and save it as .xlsx."
    )


class NotAWorkbook(RecipientFileError):  # noqa: N818
    """A zip archive that is no .xlsx."""

    text = (
        "This is not an Excel workbook of type .xlsx. Open it in a spreadsheet program and save it as .xlsx "
        "or CSV, the numbers in column A."
    )


class NotAList(RecipientFileError):  # noqa: N818
    """Neither a workbook nor a text file."""

    text = (
        "This is not a list of numbers. Upload an Excel workbook (.xlsx), a CSV file or a plain text file, "
        "the numbers in the first column."
    )


class DamagedWorkbook(RecipientFileError):  # noqa: N818
    """An .xlsx that is cut short or broken."""

    text = (
        "The Excel file is damaged or incomplete. Open it in Excel, save it again as .xlsx and upload the "
        "new file."
    )


class DamagedText(RecipientFileError):  # noqa: N818
    """A CSV file whose quotation marks don't pair up; the detail is the line."""

    text = (
        "The CSV file can't be read near line {}: a quotation mark has no partner. Mend the line, or save "
        "the list as .xlsx."
    )


class NumbersInOneLine(RecipientFileError):  # noqa: N818
    """A text file of one line with several numbers: its first column would be the first of them alone."""

    text = "The numbers stand side by side in one line. Put each number into a line of its own."


class EmptyFile(RecipientFileError):  # noqa: N818
    """Nothing but a header and blanks in column A of the first visible sheet."""

    text = (
        "The file holds no numbers in column A of its first visible sheet. Put one number into each row of "
        "column A."
    )


class TooDemanding(RecipientFileError):  # noqa: N818
    """Reading the file takes more memory or time than any genuine list."""

    text = (
        "Reading the file takes too much memory or time. Copy column A alone into a new workbook and save "
        "it as .xlsx."
    )


class TooManyNumbers(RecipientFileError):  # noqa: N818
    """More rows than a task may have recipients; the detail is how many it may."""

    code = FILE_TOO_LARGE
    text = "The file holds more than {:,} numbers. Split it, and upload each part by itself."


class FileTooLarge(RecipientFileError):  # noqa: N818
    """More octets than an upload may have; the detail is how many it may."""

    code = FILE_TOO_LARGE

    @property
    def message(self) -> str:
        """What is wrong and what its owner can do."""
        return f"The file is larger than {self.details[0] / 2**20:g} MiB. Keep column A alone, or split it."
