"""Local servers that speak the wire protocols of group robots, Web Push, JPush and an SMS gateway.

Each checks what the vendor checks (signatures, keywords, credentials, sizes) and answers as the vendor
does. `queue` holds answers that come first, by name; the names of COMMON are every server's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import struct
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02

Answer = tuple[int, dict[str, str], bytes]

COMMON: dict[str, Answer] = {
    "internal": (500, {}, b"oops"),
    "busy": (503, {"Retry-After": "30"}, b"busy"),
    "quota": (429, {"Retry-After": "90"}, b"slow down"),
    "rubbish": (200, {}, b"<html>captive portal</html>"),
    "rubbish_json": (200, {}, b'{"hello": "world"}'),
    "redirect": (302, {"Location": "http://127.0.0.1:1/elsewhere"}, b""),
    "endless": (200, {}, b"x" * 10_000_000),
}


class Vendor:
    """One server on a port of 127.0.0.1. `requests` are (path with query, headers, body)."""

    def __init__(self) -> None:
        self.queue: deque[str] = deque()
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.stall = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stall.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        raise NotImplementedError


def _handler(vendor: Vendor) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self._do("POST")

        def do_GET(self) -> None:
            self._do("GET")

        def _do(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            if method == "POST":
                vendor.requests.append((self.path, headers, body))
            next_ = vendor.queue.popleft() if vendor.queue else ""
            if next_ == "close":
                self._cut()
            elif next_ == "drip":
                self._drip()
            elif next_ == "silence":
                vendor.stall.wait(30)
                self._cut()
            elif next_ == "half":
                self._half()
            elif next_ in COMMON:
                self._answer(*COMMON[next_])
            elif next_:
                self._answer(*vendor.answers[next_])
            else:
                self._answer(*vendor.answer(method, self.path, headers, body))

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                self.close_connection = True  # it had enough

        def _half(self) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
            self._cut()

        def _drip(self) -> None:
            """A header, one byte at a time, for ever."""
            try:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not vendor.stall.wait(0.05):
                    self.wfile.write(b"x")
            except OSError:
                pass
            self.close_connection = True

        def _cut(self) -> None:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _json(document: object, status: int = 200) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps(document).encode()


# ---- group robots ----------------------------------------------------------------------------


class RobotServer(Vendor):
    """WeCom, DingTalk and Feishu at once; `said` are the documents that reached a group."""

    sign_secret = "SEC-abc123"
    keyword = "督导"

    def __init__(self) -> None:
        super().__init__()
        self.said: list[dict[str, Any]] = []
        self.skew = 0.0
        self.answers = {
            "wecom_gone": _json({"errcode": 93000, "errmsg": "invalid webhook url, hint: [16]"}),
            "wecom_fast": _json({"errcode": 45009, "errmsg": "api freq out of limit"}),
            "wecom_busy": _json({"errcode": -1, "errmsg": "system busy"}),
            "wecom_odd": _json({"errcode": 40058, "errmsg": "invalid parameter"}),
            "dingtalk_gone": _json({"errcode": 300001, "errmsg": "token is not exist"}),
            "dingtalk_fast": _json(
                {
                    "status": 1111,
                    "wait": 5,
                    "punish": "deny",
                    "errcode": 130101,
                    "errmsg": "send too fast, exceed 20 times per minute",
                }
            ),
            "feishu_gone": _json(
                {"code": 19001, "msg": "param invalid: incoming webhook access token invalid"}
            ),
            "feishu_fast": _json({"code": 11232, "msg": "frequency limited psm"}),
            "feishu_limit": _json(
                {"code": 99991400, "msg": "request trigger frequency limit"}, 429
            ),
            "feishu_ip": _json({"code": 19022, "msg": "Ip Not Allowed"}),
        }

    def hosts(self) -> list[str]:
        """For ROBOT_HOSTS."""
        return [f"{kind}={self.url}" for kind in ("wecom", "dingtalk", "feishu")]

    def webhook(self, kind: str) -> str:
        return {
            "wecom": f"{self.url}/cgi-bin/webhook/send?key=693a91f6-7a0a-4bc4-97a0-0ec2fcfa5aaa",
            "dingtalk": f"{self.url}/robot/send?access_token={'a1b2' * 16}",
            "feishu": f"{self.url}/open-apis/bot/v2/hook/6f2a1d0e-0b0a-4c4e-9d8e-1a2b3c4d5e6f",
        }[kind]

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        parts = urlsplit(path)
        document = json.loads(body)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/cgi-bin/webhook/send":
            return self._wecom(document)
        if parts.path == "/robot/send":
            return self._dingtalk(query, document)
        return self._feishu(document, len(body))

    def _wecom(self, document: dict[str, Any]) -> Answer:
        content = document["text"]["content"]
        if document["msgtype"] != "text" or not content:
            return _json({"errcode": 44004, "errmsg": "empty content"})
        if len(content.encode()) > 2048:
            return _json({"errcode": 45002, "errmsg": "content exceed max length"})
        self.said.append(document)
        return _json({"errcode": 0, "errmsg": "ok"})

    def _dingtalk(self, query: dict[str, str], document: dict[str, Any]) -> Answer:
        content = document["text"]["content"]
        now = time.time() + self.skew
        if "sign" in query:
            stamp = query["timestamp"]
            wanted = _mac(self.sign_secret, f"{stamp}\n{self.sign_secret}")
            if query["sign"] != wanted or abs(int(stamp) / 1000 - now) > 3600:
                return _json({"errcode": 310000, "errmsg": "sign not match"})
        elif self.keyword not in content:
            return _json({"errcode": 310000, "errmsg": "keywords not in content"})
        if len(json.dumps(document, ensure_ascii=False).encode()) > 20_000:
            return _json({"errcode": 460101, "errmsg": "message too long"})
        self.said.append(document)
        return _json({"errcode": 0, "errmsg": "ok"})

    def _feishu(self, document: dict[str, Any], size: int) -> Answer:
        if size > 20 * 1024:
            return _json({"code": 9499, "msg": "Bad Request", "data": {}})
        if "sign" in document:
            stamp = document["timestamp"]
            wanted = _mac(f"{stamp}\n{self.sign_secret}", "")
            late = abs(int(stamp) - time.time() - self.skew) > 3600
            if document["sign"] != wanted or late:
                message = "sign match fail or timestamp is not within one hour from current time"
                return _json({"code": 19021, "msg": message})
        elif self.keyword not in json.dumps(document, ensure_ascii=False):
            return _json({"code": 19024, "msg": "Key Words Not Found"})
        self.said.append(document)
        return _json({"code": 0, "msg": "success", "data": {}, "StatusCode": 0})


def _mac(key: str, message: str) -> str:
    raw = hmac.new(key.encode(), message.encode(), hashlib.sha256).digest()
    return base64.b64encode(raw).decode()


# ---- Web Push --------------------------------------------------------------------------------


class Browser:
    """What a browser keeps to itself: the key pair and the secret of its subscription."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.auth = uuid4().bytes
        point = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.subscription = {
            "endpoint": endpoint,
            "expirationTime": None,
            "keys": {"p256dh": _b64(point), "auth": _b64(self.auth)},
        }

    def opened(self, body: bytes) -> dict[str, Any]:
        """The message, decrypted as a browser does."""
        raw = http_ece.decrypt(
            body, private_key=self.key, auth_secret=self.auth, version="aes128gcm"
        )
        found: dict[str, Any] = json.loads(raw)
        return found


class PushService(Vendor):
    """A browser vendor's push service: checks VAPID and the limits of RFC 8030."""

    answers: dict[str, Answer] = {
        "gone": (410, {}, b"push subscription has unsubscribed or expired"),
        "unknown": (404, {}, b"no such subscription"),
        "other_key": (403, {}, b"the VAPID credentials do not correspond"),
        "too_large": (413, {}, b"payload too large"),
        "bad_clock": (401, {}, b"JWT expired"),
    }

    def subscribe(self) -> Browser:
        return Browser(f"{self.url}/push/{uuid4().hex}")

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if not Vapid02.verify(headers["authorization"]):
            return 401, {}, b"bad signature"
        token = headers["authorization"].partition("t=")[2].partition(",")[0]
        claims = json.loads(_from_b64(token.split(".")[1]))
        good = claims["aud"] == self.url and time.time() < claims["exp"] < time.time() + 86_400
        if not good or not claims["sub"].startswith(("mailto:", "https:")):
            return 401, {}, b"bad claims"
        if len(body) > 4096:
            return self.answers["too_large"]
        if headers["content-encoding"] != "aes128gcm" or not headers["ttl"].isdigit():
            return 400, {}, b"bad request"
        if len(headers.get("topic", "")) > 32:
            return 400, {}, b"topic too long"
        return 201, {"Location": f"{self.url}/message/{uuid4().hex}"}, b""


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _from_b64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# ---- JPush -----------------------------------------------------------------------------------


class JPushServer(Vendor):
    """JPush's Push API v3. `sent` holds what left for phones: a cid is sent once."""

    app_key, master_secret = "app-key", "master/secret"

    def __init__(self) -> None:
        super().__init__()
        self.sent: dict[str, dict[str, Any]] = {}
        self.given: set[str] = set()
        self.by_id: dict[str, str] = {}
        self.answers = {
            "nobody": _error(1011, "cannot find user by this audience", 400),
            "quota_used": (
                429,
                {"X-Rate-Limit-Reset": "42"},
                json.dumps({"error": {"code": 2002, "message": "rate limit"}}).encode(),
            ),
            "bad_value": _error(1003, "parameter value is invalid", 400),
            "inner_timeout": _error(1030, "internal service timeout", 503),
        }

    def jpush_url(self, **parts: str) -> str:
        secret = parts.get("secret", "master%2Fsecret")
        return f"jpush://{self.app_key}:{secret}@127.0.0.1:{self.port}?scheme=http"

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        pair = base64.b64encode(f"{self.app_key}:{self.master_secret}".encode()).decode()
        if headers.get("authorization") != f"Basic {pair}":
            return _error(1004, "authen failed!", 401)
        if path.startswith("/v3/push/cid"):
            cid = f"{self.app_key}-{uuid4()}"
            self.given.add(cid)
            return _json({"cidlist": [cid]})
        return self._push(json.loads(body), len(body))

    def _push(self, document: dict[str, Any], size: int) -> Answer:
        cid = document["cid"]
        if cid not in self.given:
            return _error(1003, "cid is invalid", 400)
        if size > 4096:
            return _error(1005, "message body too large", 400)
        (registration,) = document["audience"]["registration_id"]
        if registration in self.by_id:
            return self.answers[self.by_id[registration]]
        self.sent.setdefault(cid, document)
        return _json({"sendno": "0", "msg_id": str(1000 + list(self.sent).index(cid))})


def _error(code: int, message: str, status: int) -> Answer:
    return _json({"error": {"code": code, "message": message}}, status)


# ---- SMS -------------------------------------------------------------------------------------


class SmsGateway(Vendor):
    """A gateway that takes JSON, as many do: phone, text, an id by which it knows repetitions."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: dict[str, dict[str, Any]] = {}
        self.answers = {
            "bad_number": (422, {}, b'{"error": "number"}'),
            "refused": (401, {}, b"who?"),
        }

    def sms_url(self, user: str = "office:secret") -> str:
        fields = (
            ":phone={phone}&:id={delivery}&:message=text&:version=&:type=&:attachments=&:title="
        )
        return f"json://{user}@127.0.0.1:{self.port}/send?{fields}&cto=1&rto=1"

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if headers.get("authorization") != f"Basic {base64.b64encode(b'office:secret').decode()}":
            return self.answers["refused"]
        document = json.loads(body)
        self.sent.setdefault(document["id"], document)
        return _json({"ok": True})
