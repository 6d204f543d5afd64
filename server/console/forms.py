"""What the console's forms share: the house's look, and a service's refusal shown at its fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from server.core.errors import DuxueError, Problem
from server.grid.models import School, User


class DayInput(forms.DateInput):
    """The browser's own calendar: the right keyboard on the phone, no script on the desk."""

    input_type = "date"

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__(attrs, format="%Y-%m-%d")


class PickMany(forms.CheckboxSelectMultiple):
    """Boxes in a scrolling list with a search line, grouped where the choices are."""

    template_name = "console/pick_many.html"
    option_template_name = "django/forms/widgets/checkbox_option.html"


class ManyFilesInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class ManyFilesField(forms.FileField):
    """Several files in one field; cleans to a list."""

    widget = ManyFilesInput

    def clean(self, data: Any, initial: Any = None) -> Any:
        files = data if isinstance(data, list | tuple) else [data] if data else []
        return [super(ManyFilesField, self).clean(each, initial) for each in files]


if TYPE_CHECKING:
    _ManySchools = forms.ModelMultipleChoiceField[School]
else:
    _ManySchools = forms.ModelMultipleChoiceField


class SchoolsByTown(_ManySchools):
    """Schools under the names of their towns."""

    def __init__(self, queryset: QuerySet[School], **kwargs: Any) -> None:
        super().__init__(queryset, widget=PickMany, **kwargs)

    def _set_queryset(self, queryset: QuerySet[School]) -> None:
        self._queryset = queryset
        groups: dict[str, list[tuple[str, str]]] = {}
        for school in queryset.select_related("area").order_by("area__path", "name"):
            groups.setdefault(str(school.area), []).append((str(school.pk), school.name))
        self.widget.choices = self._choices = list(groups.items())

    queryset = property(lambda self: self._queryset, _set_queryset)


class ConsoleForm(forms.Form):
    """A form of a console page; `by` is who fills it in, and limits the choices."""

    pointers: dict[str, str] = {}
    """Names of the service's fields that are called differently here."""

    def __init__(self, *args: Any, by: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.by = by
        self.limit_choices()

    def limit_choices(self) -> None:
        """Narrow the choices to what `by` may use."""

    def refuse(self, error: DuxueError) -> None:
        """Show what a service refused at the fields that it names, else above the form."""
        left: list[Problem] = []
        for problem in error.problems:
            name = self._field_of(problem)
            if name:
                self.add_error(name, str(problem.detail))
            else:
                left.append(problem)
        self.problems = left
        if left or not error.problems:
            self.add_error(None, str(error.detail))

    problems: list[Problem] = []
    """Refusals that belong to no field, such as cells of an uploaded workbook."""

    def _field_of(self, problem: Problem) -> str | None:
        name = problem.pointer.strip("/").partition("/")[0]
        name = self.pointers.get(name, name)
        return name if name in self.fields else None


class UploadForm(ConsoleForm):
    """One Excel workbook."""

    file = forms.FileField(
        label=_("Excel 文件（.xlsx）"),
        widget=forms.FileInput(attrs={"accept": ".xlsx"}),
    )
