"""The environment of the tests holds what it promises: real servers, a closed network."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen
from uuid import uuid4

import boto3
import psycopg
import pytest
import redis
from botocore.config import Config
from botocore.exceptions import ClientError
from pytest_socket import SocketConnectBlockedError

from tests.services import REDIS, running
from tests.services.base import Failed, Missing, Workshop, listens, program


def s3_client(url: str, *, secret: str | None = None):
    parts = urlsplit(url)
    return boto3.client(
        "s3",
        endpoint_url=f"http://{parts.hostname}:{parts.port}",
        aws_access_key_id=unquote(parts.username),
        aws_secret_access_key=secret or unquote(parts.password),
        region_name="us-east-1",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


def test_postgres_answers_and_is_no_old_version(postgres_url):
    with psycopg.connect(postgres_url) as connection:
        (version,) = connection.execute("show server_version_num").fetchone()
    assert int(version) >= 150_000


def test_redis_answers(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping()


def test_the_s3_server_takes_a_signed_upload_and_gives_it_back(s3_url):
    client = s3_client(s3_url)
    bucket = f"environment-{uuid4()}"
    client.create_bucket(Bucket=bucket)
    target = {"Bucket": bucket, "Key": "a/photo.jpg"}
    signed = client.generate_presigned_url("put_object", Params=target)
    with urlopen(Request(signed, data=b"bytes", method="PUT")) as answer:
        assert answer.status == 200
    with client.get_object(**target)["Body"] as body:
        assert body.read() == b"bytes"


def test_the_s3_server_checks_signatures(s3_url):
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        s3_client(s3_url, secret="wrong").list_buckets()


def test_the_browser_is_a_program(chromium):
    assert os.access(chromium, os.X_OK)


def test_a_service_is_gone_with_its_folder():
    with running(REDIS) as service:
        port = urlsplit(service.url).port
        assert listens(port)
    assert not listens(port)
    assert not Path(service.folder).exists()


def test_a_service_that_does_not_start_shows_its_log(tmp_path):
    workshop = Workshop(tmp_path)
    workshop.spawn("doomed.log", "sh", "-c", "echo no luck today; exit 3")
    with pytest.raises(Failed, match="no luck today"):
        workshop.wait(lambda: False, what="the doomed server")


def test_a_missing_program_names_its_package():
    with pytest.raises(Missing, match="apt-get install no-such-package"):
        program("no-such-program", package="no-such-package")


def test_the_network_beyond_this_machine_is_closed():
    # The refusal is announced by a warning, which is an error here, before it is raised.
    with socket.socket() as outside, pytest.raises((SocketConnectBlockedError, UserWarning)):
        outside.connect(("192.0.2.1", 80))


def test_every_worker_has_the_settings_of_tests(settings):
    assert settings.PASSWORD_HASHERS == ["django.contrib.auth.hashers.MD5PasswordHasher"]


def test_the_tests_keep_out_of_the_products_folder(settings, media_folder):
    assert settings.VAR_DIR != settings.BASE_DIR / "var"
    assert settings.MEDIA_STORE_URL.endswith(str(media_folder))
