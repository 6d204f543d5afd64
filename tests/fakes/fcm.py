"""A local server that speaks FCM's HTTP v1 protocol and OAuth's token endpoint, for the real SDK.

It checks what Google checks: the signature of the log-in assertion, the bearer token, the project.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

PROJECT = "duxue-test"
AUDIENCE = "https://oauth2.googleapis.com/token"  # whatever the token_uri: google-auth's constant
ERROR_TYPE = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST_TYPE = "type.googleapis.com/google.rpc.BadRequest"

Answer = tuple[int, dict[str, str], bytes]


def _error(
    status: int,
    rpc: str,
    code: str = "",
    *,
    message: str = "",
    headers: dict[str, str] | None = None,
) -> Answer:
    error: dict[str, Any] = {"code": status, "message": message or rpc, "status": rpc}
    if code:
        error["details"] = [{"@type": ERROR_TYPE, "errorCode": code}]
    if "token" in message:
        violation = {"field": "message.token", "description": message}
        error["details"].append({"@type": BAD_REQUEST_TYPE, "fieldViolations": [violation]})
    return status, headers or {}, json.dumps({"error": error}).encode()


def _accepted() -> Answer:
    return 200, {}, json.dumps({"name": f"projects/{PROJECT}/messages/0:1"}).encode()


ANSWERS: dict[str, Answer] = {
    "success": _accepted(),
    "unregistered": _error(404, "NOT_FOUND", "UNREGISTERED"),
    "sender_mismatch": _error(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"),
    "bad_token": _error(
        400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", message="The registration token is not valid"
    ),
    "bad_payload": _error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", message="Payload too big"),
    "quota": _error(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", headers={"Retry-After": "90"}),
    "internal": _error(500, "INTERNAL", "INTERNAL"),
    "unavailable": _error(503, "UNAVAILABLE", "UNAVAILABLE", headers={"Retry-After": "30"}),
    "rubbish": (200, {}, b"<html>captive portal</html>"),
    "rubbish_json": (200, {}, b'{"hello": "world"}'),
    "rubbish_error": (502, {}, "<html>错误</html>".encode()),
}


class FcmServer:
    """Answers from `queue` first, then `always`, then by the message's token, then success.

    `received` is every message, `accepted` those that it answered with success; `delay`: seconds.
    """

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.queue: deque[str] = deque()
        self.by_token: dict[str, str] = {}
        self.always = ""
        self.delay = 0.0
        self.accepted: list[dict[str, Any]] = []
        self.logins = 0
        self.refuse_logins = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )

    def __enter__(self) -> FcmServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def shown(self) -> dict[tuple[str, str], dict[str, Any]]:
        """What the phones show: a message takes the place of an earlier one with its tag."""
        tag = "android", "notification", "tag"
        return {
            (each["token"], each[tag[0]][tag[1]][tag[2]]): each["notification"]
            for each in self.accepted
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def push_url(self, folder: Path, **options: str) -> str:
        """A PUSH_URL for this server; writes its service account into `folder`."""
        file = folder / "service-account.json"
        file.write_text(json.dumps(service_account(self.url)), encoding="utf-8")
        return f"fcm://{file}?{urlencode({'endpoint': self.url, **options})}"

    def _log_in(self, form: dict[str, list[str]]) -> Answer:
        if self.refuse_logins:
            return 400, {}, json.dumps({"error": "invalid_grant"}).encode()
        jwt.decode(form["assertion"][0], certs=_public_key(), audience=AUDIENCE)
        self.logins += 1
        body = {"access_token": f"access-{self.logins}", "expires_in": 3600, "token_type": "Bearer"}
        return 200, {}, json.dumps(body).encode()

    def _send(self, path: str, authorization: str, body: dict[str, Any]) -> Answer:
        if path != f"/v1/projects/{PROJECT}/messages:send":
            return _error(404, "NOT_FOUND")
        if authorization != f"Bearer access-{self.logins}":
            return _error(401, "UNAUTHENTICATED")
        message = body["message"]
        self.received.append(message)
        time.sleep(self.delay)
        if self.queue:
            answer = self.queue.popleft()
        else:
            answer = self.always or self.by_token.get(message["token"], "success")
        if answer == "success":
            self.accepted.append(message)
        return ANSWERS[answer]


def service_account(url: str) -> dict[str, str]:
    """Google's file of credentials, for a server at `url` that logs in who signs with our key."""
    private = _key().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": "1",
        "private_key": private.decode(),
        "client_email": "push@duxue.example",
        "client_id": "1",
        "token_uri": f"{url}/token",
    }


def _handler(fcm: FcmServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/token":
                answer = fcm._log_in(parse_qs(content.decode()))
            else:
                authorization = self.headers.get("Authorization", "")
                answer = fcm._send(self.path, authorization, json.loads(content))
            self._answer(*answer)

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def _public_key() -> bytes:
    return (
        _key()
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
