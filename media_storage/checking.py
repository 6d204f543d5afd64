"""What is wrong with a store, and how to mend it: tried the way this server and phones use it.

    for finding in check(store): …

Nothing is believed that can be tried: checksums by sending wrong bytes, CORS by asking as a browser
does, a public bucket by reading without a signature. What is written is removed again. A check that
makes the others pointless, such as wrong credentials, ends it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
from django.conf import settings
from django.db import DatabaseError
from django.utils.translation import gettext_lazy as _

from media_storage import witness
from media_storage.errors import StoreUnavailable
from media_storage.models import Housekeeping
from media_storage.stores import MIN_PART_SIZE, Store, StoreError
from media_storage.stores.both import BothStores
from media_storage.stores.folder import FolderStore
from media_storage.stores.s3 import INCOMING, NoAnswer, Refused, S3Store
from server.core import clock
from server.core.errors import Text

Severity = Literal["error", "warning", "hint"]
SKEW = timedelta(minutes=5)
"""Servers refuse above 15; before that there is time to mend it."""

FATAL = {
    *("unreachable", "credentials", "region", "clock", "no_bucket", "refused"),
    *("no_write", "no_read", "other_bytes", "no_address"),
}
LITTLE = 0.05
TIMEOUT = 15.0
MINUTES = timedelta(minutes=10)
CONTENT = b"duxue checks its store"
OTHER = b"other bytes, same size"
PREFLIGHT = "content-type, content-md5, x-amz-content-sha256, x-amz-checksum-sha256"
_CODE = re.compile(r"<Code>(\w+)</Code>")
_REGION = re.compile(r"<Region>([\w-]+)</Region>")


@dataclass(frozen=True, slots=True)
class Finding:
    """`error`: photos cannot arrive, be read, or are not safe. `detail` is what the server said."""

    code: str
    severity: Severity
    text: Text
    mend: Text
    detail: str = ""

    @property
    def is_fatal(self) -> bool:
        """No photo can be taken in at all."""
        return self.code in FATAL


class _Stop(Exception):
    """The finding makes all further checks pointless."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.code)
        self.finding = finding


def check(store: Store) -> Iterator[Finding]:
    """Everything that is to be said of a store, worst first in the order of use."""
    if isinstance(store, BothStores):
        yield from check(store.new)
        yield from check(store.old)
        return
    try:
        if isinstance(store, S3Store):
            yield from _check_s3(store)
        elif isinstance(store, FolderStore):
            yield from _check_folder(store)
        yield from _check_witness(store)
    except _Stop as stop:
        yield stop.finding


# ---- a folder ---------------------------------------------------------------------------------


def _check_folder(store: FolderStore) -> Iterator[Finding]:
    key = _new_key()
    try:
        store.write(key, [CONTENT])
        if b"".join(store.read(key)) != CONTENT:
            raise _Stop(_finding("other_bytes"))
        store.delete(key)
    except (StoreError, StoreUnavailable, OSError) as error:
        raise _Stop(_finding("no_write", str(error.__cause__ or error))) from error
    if store.root.stat().st_mode & 0o077:
        yield _finding("open_folder", str(store.root))
    disk = os.statvfs(store.root)
    if disk.f_bavail < LITTLE * disk.f_blocks:
        yield _finding("little_space", f"{disk.f_bavail * disk.f_frsize // 1024**2} MB")


# ---- S3 ---------------------------------------------------------------------------------------


def _check_s3(store: S3Store) -> Iterator[Finding]:
    yield from _reach(store)
    key = _new_key()
    try:
        yield from _write_and_read(store, key)
        yield from _as_a_phone(store)
        yield from _checksums(store)
        yield from _parts(store)
        yield from _copies(store, key)
        yield from _strangers(store, key)
    finally:
        yield from _delete(store, key)
    yield from _cors(store)
    yield from _lifecycle(store)
    yield from _versions(store)


def _reach(store: S3Store) -> Iterator[Finding]:
    try:
        answer = store.ask("list_objects_v2", MaxKeys=1)
    except NoAnswer as error:
        raise _Stop(_finding("unreachable", str(error))) from error
    except Refused as refusal:
        if refusal.code != "AccessDenied":
            raise _Stop(_finding(_REFUSALS.get(refusal.code, "refused"), str(refusal))) from refusal
        yield _finding("no_list", str(refusal))
        return
    told = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date", "")
    if told and abs(parsedate_to_datetime(told) - clock.now()) > SKEW:
        yield _finding("clock", f"{told} / {clock.now():%a, %d %b %Y %H:%M:%S} GMT")


_REFUSALS = {
    "InvalidAccessKeyId": "credentials",
    "SignatureDoesNotMatch": "credentials",
    "AccessDenied": "credentials",
    "Forbidden": "credentials",
    "RequestTimeTooSkewed": "clock",
    "NoSuchBucket": "no_bucket",
    "AuthorizationHeaderMalformed": "region",
    "AuthorizationQueryParametersError": "region",
    "IllegalLocationConstraintException": "region",
    "PermanentRedirect": "region",
}


def _write_and_read(store: S3Store, key: str) -> Iterator[Finding]:
    try:
        store.ask("put_object", Key=key, Body=CONTENT)
    except (Refused, NoAnswer) as error:
        raise _Stop(_finding("no_write", str(error))) from error
    try:
        got = b"".join(store.read(key))
    except (StoreError, StoreUnavailable) as error:
        raise _Stop(_finding("no_read", str(error.__cause__ or error))) from error
    if got != CONTENT:
        raise _Stop(_finding("other_bytes"))
    yield from ()


def _as_a_phone(store: S3Store) -> Iterator[Finding]:
    """Upload and download by signed addresses, without this server's keys."""
    key = _new_key()
    try:
        answer = _put(store, key, CONTENT)
        if answer.status_code != 200:
            yield _refused_address(answer)
            return
        if _put(store, key, CONTENT[:-1], told=len(CONTENT)).status_code == 200:
            yield _finding("length")
        address = store.download_url(
            key, filename="a.txt", content_type="text/plain", expires_in=MINUTES, base_url=""
        )
        whole = _get(address)
        if (whole.status_code, whole.content) != (200, CONTENT):
            yield _refused_address(whole)
            return
        part = _get(address, {"Range": "bytes=2-4"})
        if (part.status_code, part.content) != (206, CONTENT[2:5]):
            yield _finding("no_ranges", str(part.status_code))
    except httpx.HTTPError as error:
        yield _finding("unreachable", str(error))
    finally:
        _forget(store, key)


def _refused_address(answer: httpx.Response) -> Finding:
    code, region = _CODE.search(answer.text), _REGION.search(answer.text)
    said = f"{answer.status_code} {code[1] if code else ''} {region[1] if region else ''}".strip()
    known = _REFUSALS.get(code[1]) if code else None
    return _finding("region" if known == "region" else "no_address", said)


def _checksums(store: S3Store) -> Iterator[Finding]:
    """Wrong bytes under a signed checksum: what the server takes, it does not check."""
    for name in ("content-sha256", "sha256"):
        key = _new_key()
        checks = _put_checked(store, key, OTHER, name).status_code >= 400
        works = _put_checked(store, key, CONTENT, name).status_code == 200
        _forget(store, key)
        if store.checksum == name and not (checks and works):
            yield _finding("checksum", f"checksum={name}")
        if store.checksum == "none" and checks and works:
            yield _finding("checksum_unused", f"&checksum={name}")
            return


def _put_checked(store: S3Store, key: str, content: bytes, name: str) -> httpx.Response:
    digest = hashlib.sha256(CONTENT)
    if name == "content-sha256":
        headers = {"x-amz-content-sha256": digest.hexdigest()}
        return _put(store, key, content, headers=headers, payload=digest.hexdigest())
    encoded = base64.b64encode(digest.digest()).decode()
    return _put(store, key, content, headers={"x-amz-checksum-sha256": encoded})


def _parts(store: S3Store) -> Iterator[Finding]:
    """Two parts, one of the smallest size that S3 promises, by signed addresses."""
    key = _new_key()
    contents = (bytes(MIN_PART_SIZE), CONTENT)
    upload_id = ""
    try:
        upload_id = store.ask("create_multipart_upload", Key=key)["UploadId"]
        etags = []
        for number, content in enumerate(contents, start=1):
            query = {"partNumber": str(number), "uploadId": upload_id}
            answer = _put(store, key, content, query=query)
            etags.append({"PartNumber": number, "ETag": answer.headers.get("ETag", "")})
        store.ask(
            "complete_multipart_upload",
            Key=key,
            UploadId=upload_id,
            MultipartUpload={"Parts": etags},
        )
        if store.size(key) != sum(map(len, contents)):
            yield _finding("no_multipart", "size")
    except (Refused, NoAnswer, StoreError, StoreUnavailable, httpx.HTTPError) as error:
        if upload_id:
            store.abort_upload(key.removeprefix(INCOMING), upload_id)
        yield _finding("no_multipart", str(error))
    finally:
        _forget(store, key)


def _copies(store: S3Store, key: str) -> Iterator[Finding]:
    copy = _new_key()
    source = {"Bucket": store.bucket, "Key": key}
    try:
        store.ask("copy_object", Key=copy, CopySource=source)
    except (Refused, NoAnswer) as error:
        yield _finding("no_copy", str(error))
    finally:
        _forget(store, copy)


def _strangers(store: S3Store, key: str) -> Iterator[Finding]:
    """What somebody without any key gets to see."""
    for address in (f"{store.signer.base}/{key}", f"{store.signer.base}/?list-type=2&max-keys=1"):
        try:
            if _get(address).status_code == 200:
                yield _finding("public", urlsplit(address).path)
                return
        except httpx.HTTPError as error:
            yield _finding("unreachable", str(error))
            return


def _delete(store: S3Store, key: str) -> Iterator[Finding]:
    try:
        store.ask("delete_object", Key=key)
    except (Refused, NoAnswer) as error:
        yield _finding("no_delete", str(error))


def _cors(store: S3Store) -> Iterator[Finding]:
    """As a browser asks before it uploads from our pages."""
    origin = origin_of_pages()
    if not origin:
        yield _finding("cors_unknown")
        return
    address = _address(store, _new_key(), len(CONTENT))
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": PREFLIGHT,
    }
    try:
        answer = httpx.options(address, headers=headers, timeout=TIMEOUT)
    except httpx.HTTPError as error:
        yield _finding("cors", str(error))
        return
    allowed = answer.headers.get("Access-Control-Allow-Origin", "")
    if answer.status_code >= 300 or allowed not in (origin, "*"):
        yield _finding("cors", f"{answer.status_code} {origin}")


def _lifecycle(store: S3Store) -> Iterator[Finding]:
    try:
        told = store.ask("get_bucket_lifecycle_configuration").get("Rules")
    except NoAnswer:
        return
    except Refused as refusal:
        told = [] if refusal.status == 404 else None
    if told is None:  # Swift answers with a list of objects
        yield _finding("lifecycle_unknown")
        return
    rules = [rule for rule in told if rule.get("Status") == "Enabled"]
    for rule in rules:
        if _prefix_of(rule).startswith(INCOMING):
            continue
        if rule.get("Expiration", {}).keys() & {"Days", "Date"}:
            yield _finding("lifecycle_deletes", rule.get("ID", ""))
        if rule.get("Transitions"):
            yield _finding("lifecycle_archives", rule.get("ID", ""))
    if not any(rule.get("AbortIncompleteMultipartUpload") for rule in rules):
        yield _finding("lifecycle_missing")


def _prefix_of(rule: Mapping[str, Any]) -> str:
    """Where a rule applies; empty for everywhere, and for what is chosen in another way."""
    chosen = rule.get("Filter", {})
    prefix = rule.get("Prefix") or chosen.get("Prefix") or chosen.get("And", {}).get("Prefix")
    return str(prefix or "")


def _versions(store: S3Store) -> Iterator[Finding]:
    try:
        if store.ask("get_bucket_versioning").get("Status") == "Enabled":
            yield _finding("versions")
    except (Refused, NoAnswer):
        return


def _check_witness(store: Store) -> Iterator[Finding]:
    try:
        ours = Housekeeping.objects.filter(pk=1).first()
    except DatabaseError:  # it has not come to that yet, and is not asked about here
        return
    if settings.MEDIA_STORE_OLD_URL or ours is None:
        return
    if ours.refused_at or not witness.agree(store, ours):
        yield _finding("not_ours")


# ---- as phones do -----------------------------------------------------------------------------


def _address(store: S3Store, key: str, size: int, **signed: Any) -> str:
    headers = {**signed.pop("headers", {}), "Content-Length": str(size)}
    at: datetime = clock.now()
    return store.signer.address("PUT", key, at=at, expires_in=MINUTES, headers=headers, **signed)


def _put(
    store: S3Store, key: str, content: bytes, *, told: int | None = None, **signed: Any
) -> httpx.Response:
    """`told`: the length that is signed, where it is not that of the content."""
    address = _address(store, key, len(content) if told is None else told, **signed)
    headers = signed.get("headers", {})
    return httpx.put(address, content=content, headers=headers, timeout=TIMEOUT)


def _get(address: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
    return httpx.get(address, headers=dict(headers or {}), timeout=TIMEOUT)


def _new_key() -> str:
    """Below incoming/: what a check that is killed leaves goes with other half-done uploads."""
    return f"{INCOMING}check/{secrets.token_hex(8)}"


def _forget(store: S3Store, key: str) -> None:
    """What cannot be deleted is told once, of the first key."""
    try:
        store.ask("delete_object", Key=key)
    except (Refused, NoAnswer):
        return


def origin_of_pages() -> str:
    """Where our pages come from, as a browser names it; empty where it is not set."""
    parts = urlsplit(settings.PUBLIC_URL)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


# ---- the words --------------------------------------------------------------------------------


def _finding(code: str, detail: str = "") -> Finding:
    severity, text, mend = FINDINGS[code]
    return Finding(code, severity, text, mend, detail)


FINDINGS: dict[str, tuple[Severity, Text, Text]] = {
    "unreachable": (
        "error",
        _("连不上存储服务"),
        _("检查地址里的主机、端口和 scheme，以及防火墙和证书；手机也要能访问这个地址"),
    ),
    "credentials": (
        "error",
        _("存储服务不认可访问密钥"),
        _("检查 MEDIA_STORE_URL 里的两个密钥；特殊字符要按百分号编码"),
    ),
    "region": (
        "error",
        _("区域（region）不对，签名的地址会被拒绝"),
        _("把 MEDIA_STORE_URL 里的 region 改成存储桶所在的区域"),
    ),
    "clock": (
        "error",
        _("本机时钟与存储服务相差太多，签名会失效"),
        _("在本机和存储服务器上开启时间同步（NTP）"),
    ),
    "no_bucket": (
        "error",
        _("存储桶不存在"),
        _("运行 python -m server media_store create，或检查桶名"),
    ),
    "refused": (
        "error",
        _("存储服务拒绝了列目录请求"),
        _("按它给出的代码查它的文档"),
    ),
    "no_list": (
        "error",
        _("没有列目录的权限，断点续传和清理无法工作"),
        _("给这个密钥 s3:ListBucket 和 s3:ListBucketMultipartUploads 权限"),
    ),
    "no_write": (
        "error",
        _("不能写入"),
        _("给这个密钥 s3:PutObject 权限；文件夹则检查属主和磁盘"),
    ),
    "no_read": (
        "error",
        _("写入的内容读不回来"),
        _("给这个密钥 s3:GetObject 权限"),
    ),
    "other_bytes": (
        "error",
        _("读回的内容与写入的不同"),
        _("不要使用这个存储：检查磁盘、缓存和中间的代理"),
    ),
    "no_address": (
        "error",
        _("签名的地址被拒绝，手机无法上传或下载"),
        _("检查地址里的主机名是否就是手机访问的主机名，以及 path_style；代理不能改写 Host"),
    ),
    "length": (
        "error",
        _("接受了与签名长度不同的内容"),
        _("中间的代理可能改写了请求；不要使用"),
    ),
    "no_ranges": (
        "warning",
        _("不支持按字节范围下载，下载中断后只能重来"),
        _("检查中间的代理是否去掉了 Range"),
    ),
    "checksum": (
        "error",
        _("地址里写明的校验方式，存储并不执行"),
        _("从 MEDIA_STORE_URL 里去掉 checksum=，由后台进程逐个核对"),
    ),
    "checksum_unused": (
        "hint",
        _("存储会核对校验值，可以省去后台逐个核对"),
        _("在 MEDIA_STORE_URL 末尾加上所示的参数"),
    ),
    "no_multipart": (
        "error",
        _("不支持分段上传，大文件无法保存"),
        _(
            "给这个密钥 s3:PutObject、s3:AbortMultipartUpload 和 s3:ListMultipartUploadParts 权限，或打开存储的分段上传"
        ),
    ),
    "no_copy": (
        "error",
        _("不能在存储内复制"),
        _("给这个密钥对同一个桶的 s3:GetObject 和 s3:PutObject 权限"),
    ),
    "no_delete": (
        "error",
        _("不能删除"),
        _("给这个密钥 s3:DeleteObject 权限"),
    ),
    "public": (
        "error",
        _("没有密钥的人也能读取存储桶"),
        _("关闭桶的公共读取（ACL 和策略），打开“阻止公共访问”"),
    ),
    "cors": (
        "error",
        _("网页不能直接上传：存储桶不接受来自本站的跨域请求"),
        _("运行 python -m server media_store create；存储不支持时按 docs/stores.md 手工设置"),
    ),
    "cors_unknown": (
        "hint",
        _("没有检查跨域设置：不知道网页的地址"),
        _("设置 PUBLIC_URL 后再检查"),
    ),
    "lifecycle_deletes": (
        "error",
        _("生命周期规则会删除照片"),
        _("删除这条规则，或把它限定在 incoming/ 之下"),
    ),
    "lifecycle_archives": (
        "warning",
        _("生命周期规则会把照片转为归档存储，之后不能立即读取"),
        _("只转到可以立即读取的存储类型"),
    ),
    "lifecycle_missing": (
        "hint",
        _("没有清理未完成上传的生命周期规则；后台进程也会清理"),
        _("运行 python -m server media_store create"),
    ),
    "lifecycle_unknown": (
        "hint",
        _("存储不提供生命周期设置；未完成的上传由后台进程清理"),
        _("保证至少有一个后台进程在运行"),
    ),
    "versions": (
        "warning",
        _("打开了版本控制：删除的照片仍留有旧版本"),
        _("关闭版本控制，或加一条很快清除旧版本的规则"),
    ),
    "open_folder": (
        "warning",
        _("本机的其他用户可以读取文件夹"),
        _("chmod 700 这个文件夹"),
    ),
    "little_space": (
        "warning",
        _("磁盘剩余空间不足 5%"),
        _("扩容，或把材料迁移到另一个存储（media_store move）"),
    ),
    "not_ours": (
        "error",
        _("存储里的标记与数据库的不同：两者之一被恢复或更换过，清理已停止"),
        _("按 docs/stores.md 核对；确认无误后运行 python -m server media_store sweep --adopt"),
    ),
}
