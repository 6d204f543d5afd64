"""Each flag in one sentence: what contradicts what, with both values, in the language of the reader."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from server.evidence.models import Flag, PhotoCheck

Code = Flag.Code
Details = dict[str, Any]


def sentence(flag: Flag) -> str:
    """What contradicts what. The other side is named where `flags_shown_to` found that it may be."""
    return _SENTENCES[Code(flag.code)](flag, flag.details)


def other_side(flag: Flag) -> str:
    """Where the other photo is used, in words that tell no more than the reader may know."""
    if getattr(flag, "names_other", False):
        if flag.other_visit:
            return _("任务“%(activity)s · %(school)s”") % {
                "activity": flag.other_visit.activity,
                "school": flag.other_visit.school,
            }
        if flag.other_finding:
            return _("问题“%(finding)s”（%(school)s）") % {
                "finding": flag.other_finding.title,
                "school": flag.other_finding.school,
            }
    if flag.details.get("other") == "finding":
        return _("另一个问题的整改（您无权查看）")
    if flag.details.get("other") == "alone":
        return _("一份没有归入任务的填报")
    return _("另一个任务（您无权查看）")


def span(seconds: float) -> str:
    """A length of time in its two largest units: 2 天 3 小时, 5 分钟, 40 秒."""
    left = round(abs(seconds))
    if left < 60:
        return ngettext("%(n)d 秒", "%(n)d 秒", left) % {"n": left}
    days, left = divmod(left, 86_400)
    hours, left = divmod(left, 3600)
    minutes = left // 60
    parts = []
    if days:
        parts.append(ngettext("%(n)d 天", "%(n)d 天", days) % {"n": days})
    if hours:
        parts.append(ngettext("%(n)d 小时", "%(n)d 小时", hours) % {"n": hours})
    if minutes and not days:
        parts.append(ngettext("%(n)d 分钟", "%(n)d 分钟", minutes) % {"n": minutes})
    return " ".join(parts)


def metres(number: float) -> str:
    """A distance: metres, kilometres beyond ten of them."""
    if number >= 10_000:
        return _("%(n).0f 公里") % {"n": number / 1000}
    return _("%(n).0f 米") % {"n": number}


def moment(text: str) -> str:
    """A stored moment as the county's clock shows it."""
    return f"{timezone.localtime(datetime.fromisoformat(text)):%Y-%m-%d %H:%M}"


def _taken(details: Details) -> str:
    source = PhotoCheck.Source(details.get("source", "")).label
    return _("%(moment)s（%(source)s）") % {"moment": moment(details["taken"]), "source": source}


def _accuracy(details: Details) -> str:
    if details.get("accuracy_m") is None:
        return _("精度未知")
    return _("精度 ±%(metres)s") % {"metres": metres(details["accuracy_m"])}


def _gallery(_flag: Flag, details: Details) -> str:
    return _("手机登记照片是从相册选取的，而不是在现场拍摄的。")


def _other_day(_flag: Flag, details: Details) -> str:
    words = {"taken": _taken(details), "first": details["from"], "last": details["to"]}
    if details["reference"] == "activity":
        text = _("照片拍摄于 %(taken)s，督导活动的时间是 %(first)s 至 %(last)s，任务还没有签到。")
    elif details["to"] is None:
        text = _("照片拍摄于 %(taken)s，任务签到在 %(first)s。")
    elif details["from"] == details["to"]:
        text = _("照片拍摄于 %(taken)s，任务在 %(first)s 签到并完成。")
    else:
        text = _("照片拍摄于 %(taken)s，任务从 %(first)s 签到到 %(last)s 完成。")
    return text % words


def _before_check_in(_flag: Flag, details: Details) -> str:
    return _("照片拍摄于 %(taken)s，比签到（%(at)s）早 %(span)s。") % {
        "taken": _taken(details),
        "at": moment(details["check_in"]),
        "span": span(details["seconds"]),
    }


def _after_completion(_flag: Flag, details: Details) -> str:
    return _("照片拍摄于 %(taken)s，比任务完成（%(at)s）晚 %(span)s。") % {
        "taken": _taken(details),
        "at": moment(details["completed"]),
        "span": span(details["seconds"]),
    }


def _before_finding(_flag: Flag, details: Details) -> str:
    if details["reference"] == "check_in":
        text = _("整改照片拍摄于 %(taken)s，比督学到校签到（%(at)s）早 %(span)s。")
    else:
        text = _("整改照片拍摄于 %(taken)s，比提出问题（%(at)s）早 %(span)s。")
    return text % {
        "taken": _taken(details),
        "at": moment(details["raised"]),
        "span": span(details["seconds"]),
    }


def _other_place(_flag: Flag, details: Details) -> str:
    words = {
        "source": PhotoCheck.Source(details["source"]).label,
        "distance": metres(details["distance_m"]),
        "accuracy": _accuracy(details),
        "limit": metres(details["limit_m"]),
    }
    if details["reference"] == "check_in":
        text = _(
            "照片的位置（%(source)s，%(accuracy)s）离签到位置 %(distance)s，超过 %(limit)s；学校没有登记坐标。"
        )
    else:
        text = _("照片的位置（%(source)s，%(accuracy)s）离学校 %(distance)s，超过 %(limit)s。")
    return text % words + _gcj02(details)


def _check_in_away(_flag: Flag, details: Details) -> str:
    return _("签到位置（%(accuracy)s）离学校 %(distance)s，超过 %(limit)s。") % {
        "distance": metres(details["distance_m"]),
        "accuracy": _accuracy(details),
        "limit": metres(details["limit_m"]),
    } + _gcj02(details)


def _gcj02(details: Details) -> str:
    if not details.get("maybe_gcj02"):
        return ""
    return _("若手机给出的是火星坐标（GCJ-02），则位置相符。")


def _reused(flag: Flag, details: Details) -> str:
    return _("文件与另一处所用的完全相同（SHA-256 一致），另一处是：%s。") % other_side(flag)


def _similar(flag: Flag, details: Details) -> str:
    return _("照片与另一张几乎相同（感知哈希 64 位中差 %(bits)d 位），另一张用于：%(other)s。") % {
        "bits": details["bits"],
        "other": other_side(flag),
    }


def _problem_photo(_flag: Flag, details: Details) -> str:
    if details["bits"] is None:
        return _("照片与提出该问题的任务中的一张照片是同一个文件（SHA-256 一致）。")
    return (
        _("照片与提出该问题的任务中的一张照片几乎相同（感知哈希 64 位中差 %(bits)d 位）。")
        % details
    )


def _clock_off(_flag: Flag, details: Details) -> str:
    words = {
        "span": span(details["offset_ms"] / 1000),
        "at": moment(details["read_at"]),
        "taken": moment(details["taken"]),
        "corrected": moment(details["corrected"]),
    }
    if details["offset_ms"] > 0:
        text = _(
            "手机时钟比服务器快 %(span)s（测于 %(at)s），拍摄时间已从 %(taken)s 校正为 %(corrected)s。"
        )
    else:
        text = _(
            "手机时钟比服务器慢 %(span)s（测于 %(at)s），拍摄时间已从 %(taken)s 校正为 %(corrected)s。"
        )
    return text % words


def _clock_ahead(flag: Flag, details: Details) -> str:
    words = {
        "taken": _taken(details),
        "arrived": moment(details["arrived"]),
        "span": span(details["seconds"]),
    }
    if flag.media_id is None:
        return _("签到时间 %(taken)s比到达服务器的时间（%(arrived)s）还晚 %(span)s。") % words
    return _("拍摄时间 %(taken)s比到达服务器的时间（%(arrived)s）还晚 %(span)s。") % words


def _times_differ(_flag: Flag, details: Details) -> str:
    text = _("EXIF 记录的拍摄时间是 %(exif)s，手机登记的是 %(phone)s，相差 %(span)s。") % {
        "exif": moment(details["exif"]),
        "phone": moment(details["phone"]),
        "span": span(details["seconds"]),
    }
    if details.get("maybe_zone"):
        text += _("EXIF 没有记录时区，可能只是时区不同。")
    return text


def _no_exif(_flag: Flag, details: Details) -> str:
    return _("手机登记照片是现场拍摄的，照片里却没有任何 EXIF 信息。")


def _edited(_flag: Flag, details: Details) -> str:
    return _("EXIF 记录照片由“%(software)s”写出，而不是直接来自相机。") % details


_SENTENCES: dict[Code, Callable[[Flag, Details], str]] = {
    Code.GALLERY: _gallery,
    Code.OTHER_DAY: _other_day,
    Code.BEFORE_CHECK_IN: _before_check_in,
    Code.AFTER_COMPLETION: _after_completion,
    Code.BEFORE_FINDING: _before_finding,
    Code.OTHER_PLACE: _other_place,
    Code.CHECK_IN_AWAY: _check_in_away,
    Code.REUSED: _reused,
    Code.SIMILAR: _similar,
    Code.PROBLEM_PHOTO: _problem_photo,
    Code.CLOCK_OFF: _clock_off,
    Code.CLOCK_AHEAD: _clock_ahead,
    Code.TIMES_DIFFER: _times_differ,
    Code.NO_EXIF: _no_exif,
    Code.EDITED: _edited,
}
