"""Chat groups of a school: its contacts and its offices set them up."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from mobile_api.openapi import page_shape
from mobile_api.pagination import PageQuery
from mobile_api.serializers.chat_groups import ChatGroupChange, ChatGroupIn, ChatGroupOut
from mobile_api.views.base import PhoneView, one
from server.messaging.chat_groups import (
    RobotGiven,
    add_chat_group,
    chat_groups_managed_by,
    delete_chat_group,
    schools_managed_by,
    set_chat_group,
    try_chat_group,
)
from server.messaging.models import ChatGroup

TAGS = ["Messages"]


class GroupsOfSchoolView(PhoneView):
    def groups(self, school_id: UUID) -> QuerySet[ChatGroup]:
        """Raises NotFound for a school whose channels are not this person's to set up."""
        school = one(schools_managed_by(self.person), school_id)
        return chat_groups_managed_by(self.person).filter(school=school)


class ChatGroupsView(GroupsOfSchoolView):
    @extend_schema(
        operation_id="list_chat_groups",
        tags=TAGS,
        parameters=[PageQuery],
        responses=page_shape(ChatGroupOut),
    )
    def get(self, request: Request, id: UUID) -> Response:
        """The school's chat groups. For its contacts and its offices."""
        return self.page(self.groups(id), ChatGroupOut, ordering=("id",))

    @extend_schema(
        operation_id="add_chat_group",
        tags=TAGS,
        request=ChatGroupIn,
        responses={201: ChatGroupOut},
    )
    def post(self, request: Request, id: UUID) -> Response:
        """Let a robot of WeCom, DingTalk or Feishu speak in the school's group."""
        given = self.body(ChatGroupIn)
        robot = RobotGiven(
            webhook=given.pop("webhook"),
            sign_secret=given.pop("sign_secret"),
            keyword=given.pop("keyword"),
        )
        group = add_chat_group(
            group_id=given.pop("id"), by=self.person, school_id=id, robot=robot, **given
        )
        return self.out(ChatGroupOut, group, 201)


class ChatGroupView(GroupsOfSchoolView):
    @extend_schema(operation_id="get_chat_group", tags=TAGS, responses=ChatGroupOut)
    def get(self, request: Request, id: UUID, group_id: UUID) -> Response:
        """One chat group."""
        return self.out(ChatGroupOut, one(self.groups(id), group_id))

    @extend_schema(
        operation_id="change_chat_group", tags=TAGS, request=ChatGroupChange, responses=ChatGroupOut
    )
    def patch(self, request: Request, id: UUID, group_id: UUID) -> Response:
        """Let it speak or be silent, with the office's announcements or without."""
        group = one(self.groups(id), group_id)
        changes = self.body(ChatGroupChange)
        return self.out(ChatGroupOut, set_chat_group(group_id=group.pk, by=self.person, **changes))

    @extend_schema(operation_id="delete_chat_group", tags=TAGS, responses={204: None})
    def delete(self, request: Request, id: UUID, group_id: UUID) -> Response:
        """Forget the robot; what was delivered stays recorded."""
        group = one(self.groups(id), group_id)
        delete_chat_group(group_id=group.pk, by=self.person)
        return Response(status=204)


class ChatGroupTestView(GroupsOfSchoolView):
    @extend_schema(operation_id="test_chat_group", tags=TAGS, request=None, responses=ChatGroupOut)
    def post(self, request: Request, id: UUID, group_id: UUID) -> Response:
        """Say a word in the group now; the answer tells in words what the platform said."""
        group = one(self.groups(id), group_id)
        return self.out(ChatGroupOut, try_chat_group(group_id=group.pk, by=self.person))
