"""The one error root. The domain names the rule that was broken; the API maps the kind to a status.

    DuxueError
    ├── NotFound             what one may not see does not exist            404
    ├── Invalid              the input breaks a rule; `problems` says where 422 (400 where malformed)
    │   └── Malformed        the input cannot be read at all                400
    ├── Conflict             the state or an earlier write stands against   409
    │   ├── WrongState       the action is not open in this state           409
    │   └── ContentConflict  the same id with other content; both are kept  409
    ├── Gone                 it was there and was deleted; its record stays  410
    ├── NotAllowed           seen, but not this person's to do              403
    ├── NotAuthenticated     no, expired or revoked credentials             401
    ├── TooLarge             over a stated limit                            413
    ├── TooManyRequests      more often than is allowed; wait `retry_after`  429
    └── Unavailable          a part that we depend on is down; try again    503

Codes are a closed registry: every concrete class has one, unique, and `registry()` lists them for
the documentation and the OpenAPI.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Text = str | Promise


@dataclass(frozen=True, slots=True)
class Problem:
    """One field that is wrong: a JSON pointer (RFC 6901) into the input, a code, a sentence."""

    pointer: str
    code: str
    detail: Text


class Problems(list[Problem]):
    """No more than a person could mend at a time: a hostile document has a million."""

    LIMIT: ClassVar[int] = 100

    def append(self, problem: Problem) -> None:
        if len(self) < self.LIMIT:
            super().append(problem)


class DuxueError(Exception):
    """Root of everything that a service refuses. `detail` tells the user what to do."""

    code: ClassVar[str] = "error"
    title: ClassVar[Text] = _("出错了")

    _registry: ClassVar[dict[str, type[DuxueError]]] = {}

    def __init__(self, detail: Text = "", *, problems: Sequence[Problem] = ()) -> None:
        super().__init__(detail)
        self.detail: Text = detail or self.title
        self.problems: tuple[Problem, ...] = tuple(problems)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "code" in cls.__dict__:
            other = DuxueError._registry.setdefault(cls.code, cls)
            if other is not cls and other.__qualname__ != cls.__qualname__:
                raise TypeError(f"error code {cls.code!r} is taken by {other.__qualname__}")

    def __str__(self) -> str:
        return str(self.detail)


class NotFound(DuxueError):
    code = "not_found"
    title = _("找不到，或您无权查看")


class Invalid(DuxueError):
    code = "invalid"
    title = _("内容不符合要求")


class Malformed(Invalid):
    code = "malformed"
    title = _("无法读取提交的内容")


class Conflict(DuxueError):
    code = "conflict"
    title = _("与已有内容冲突")


class WrongState(Conflict):
    code = "wrong_state"
    title = _("当前状态下不能进行此操作")


class ContentConflict(Conflict):
    code = "content_conflict"
    title = _("同一编号已有不同内容，两份都已保留")


class Gone(DuxueError):
    code = "gone"
    title = _("已按规定删除，只保留记录")


class NotAllowed(DuxueError):
    code = "not_allowed"
    title = _("您无权进行此操作")


class NotAuthenticated(DuxueError):
    code = "not_authenticated"
    title = _("请重新登录")


class TooLarge(DuxueError):
    code = "too_large"
    title = _("内容超过大小限制")


class TooManyRequests(DuxueError):
    code = "too_many_requests"
    title = _("请求过于频繁，请稍后再试")

    def __init__(self, detail: Text = "", *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
        """Seconds."""


class Unavailable(DuxueError):
    code = "unavailable"
    title = _("服务暂时不可用，请稍后重试")


def registry() -> Mapping[str, type[DuxueError]]:
    """Every error code and its class."""
    return DuxueError._registry
