"""The instruments that come with the product, as the Excel files that an office would upload.

The tables in this folder are the readable source; `python -m server.instruments.library.build`
writes the workbooks from them.
"""

from pathlib import Path

FORM_IDS = ("food_safety", "supervision_week", "parent_questionnaire")


def workbook_path(form_id: str) -> Path:
    """Where the workbook of a ready instrument lies."""
    return Path(__file__).with_name(f"{form_id}.xlsx")
