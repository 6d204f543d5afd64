"""`add_area`: a node of the grid, from the province down. Offices and schools hang on these."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from server.grid.models import Area


class Command(BaseCommand):
    help = "Add an area, or rename one: add_area 910121 云岭县 county --parent 9101"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("code", help="行政区划代码, 2 to 12 digits")
        parser.add_argument("name")
        parser.add_argument("level", choices=Area.Level.values)
        parser.add_argument("--parent", help="the code of the area above", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        parent = Area.objects.filter(code=options["parent"]).first()
        if options["parent"] and parent is None:
            raise CommandError(f"no area has the code {options['parent']}: add it first")
        area = Area.objects.filter(code=options["code"]).first() or Area(code=options["code"])
        if area.path and area.parent != parent:
            raise CommandError(f"{area} lies elsewhere already; areas are not moved")
        area.name, area.level, area.parent = options["name"], options["level"], parent
        try:
            area.full_clean(exclude=["path"])
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        area.save()
        self.stdout.write(f"{area.path} {area.name}")
