"""Shared copies in the console: hiding places of a picture by hand, and making copies anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from media_storage.models import MediaObject, Rendition
from media_storage.services import readable_url
from server.console.access import person
from server.console.admin.base import Deed, ScopedAdmin, Tool, sentence
from server.core.errors import DuxueError, Invalid, Text
from server.sharing.models import SharedCopy
from server.sharing.services import blur_boxes_of, remake_copy, set_blur_boxes
from server.sharing.showing import may_open_original


class SharingPages(ScopedAdmin):
    """For the page of a file: a page on which places are hidden, and a button that makes it anew.

    Rows as `with_rights` gives them.
    """

    def sharing_pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        return {"blur": ("<uuid:object_id>/blur/", self.blur_view)}

    def sharing_tools(self, row: MediaObject) -> Sequence[Tool]:
        if not may_open_original(row) or _picture(row, Rendition.Name.LARGE) is None:
            return []
        return [Tool(_("遮挡与共享图"), self.link("blur", row.pk), "blur_on")]

    def sharing_deeds(self, row: MediaObject) -> Mapping[str, Deed]:
        if not may_open_original(row) or _picture(row, Rendition.Name.LARGE) is None:
            return {}
        hint = _("督导工具的设置、名称或位置改过之后，按现在的内容重做。")
        return {"share": Deed(label=_("重做共享图"), do=self._remake, hint=hint)}

    def _remake(self, request: HttpRequest, row: MediaObject) -> Text:
        remake_copy(media_id=row.pk, by=person(request))
        return _("共享图正在重做。")

    def blur_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """The picture with its boxes, to be drawn on; beside it the copy that others see."""
        row, by = self.row(request, object_id), person(request)
        if not may_open_original(row):
            messages.error(request, _("只有可以查看原图的人员可以遮挡图片。"))
            return redirect(self.page_of(row))
        if request.method == "POST":
            try:
                set_blur_boxes(media_id=row.pk, by=by, boxes=_sent(request.POST.get("boxes", "")))
            except DuxueError as error:
                messages.error(request, sentence(error))
            else:
                messages.success(request, _("已保存，共享图正在重做。"))
            return redirect(self.link("blur", row.pk))
        copy = blur_boxes_of(media_id=row.pk, by=by)
        return self.render(request, "console/blur.html", self._blur_context(request, row, copy))

    def _blur_context(
        self, request: HttpRequest, row: MediaObject, copy: SharedCopy
    ) -> dict[str, Any]:
        base = request.build_absolute_uri("/")
        large = _picture(row, Rendition.Name.LARGE)
        shared = _picture(row, Rendition.Name.SHARED)
        return {
            "title": _("遮挡：%(name)s") % {"name": row.filename},
            "row": row,
            "copy": copy,
            "picture": large,
            "picture_url": readable_url(large, base_url=base) if large else "",
            "shared_url": readable_url(shared, base_url=base) if shared else "",
            "boxes": copy.boxes,
            "faces": copy.faces,
            "back": self.page_of(row),
        }


def _picture(row: MediaObject, name: str) -> Rendition | None:
    return next((each for each in row.renditions.all() if each.name == name), None)


def _sent(text: str) -> list[list[float]]:
    """Four numbers for each box. Raises Invalid."""
    try:
        boxes = [[float(side) for side in box] for box in json.loads(text)]
    except (ValueError, TypeError) as error:
        raise Invalid(_("遮挡的位置无法识别，请刷新页面后重新操作。")) from error
    if any(len(box) != 4 for box in boxes):
        raise Invalid(_("遮挡的位置无法识别，请刷新页面后重新操作。"))
    return boxes
