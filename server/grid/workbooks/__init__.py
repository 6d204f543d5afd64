"""Excel in and out: schools and people, all or nothing, with an error per row and column.

What `export_…` writes is exactly what `import_…` takes; a template is an export without rows.
"""

from server.grid.workbooks.people import export_people, people_template
from server.grid.workbooks.people_import import import_people
from server.grid.workbooks.schools import export_schools, import_schools, schools_template
from server.grid.workbooks.sheets import ImportResult

__all__ = [
    "ImportResult",
    "export_people",
    "export_schools",
    "import_people",
    "import_schools",
    "people_template",
    "schools_template",
]
