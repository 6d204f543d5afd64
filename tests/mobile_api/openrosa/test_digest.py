"""HTTP Digest and Basic: RFC 7616 by hand, by httpx and by curl; replays, tampering and old nonces."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
from datetime import timedelta

import httpx
import pytest
from django.test import Client

from mobile_api.openrosa import digest
from server.activities.models import Visit
from server.core import clock
from server.messaging.models import Device
from server.messaging.sessions import close_session, new_openrosa_password
from tests.activities import device_of
from tests.cast import PASSWORD, Cast
from tests.mobile_api.openrosa.conftest import gate_xml, message, multipart, xml_part

PATH = "/openrosa/formList"


@pytest.fixture
def device(cast: Cast) -> Device:
    return device_of(cast.ada)


@pytest.fixture
def password(device: Device) -> str:
    return new_openrosa_password(device=device)


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def challenged(response) -> dict[str, str]:
    """The parameters of a refusal's challenge."""
    assert response.status_code == 401
    scheme, _space, rest = response["WWW-Authenticate"].partition(" ")
    assert scheme == "Digest"
    pairs = [each.split("=", 1) for each in rest.split(", ")]
    return {name: value.strip('"') for name, value in pairs}


def authorization(
    given: dict[str, str], password: str, *, uri: str = PATH, method: str = "GET", **changes: str
) -> str:
    """As RFC 7616 computes it; `changes` are made after the response was computed."""
    values = {"username": "ada", "cnonce": "c0ffee", "nc": "00000001", "qop": "auth", **given}
    values["uri"] = uri
    ha1 = md5(f"{values['username']}:{values['realm']}:{password}")
    ha2 = md5(f"{method}:{uri}")
    middle = ":".join(values[name] for name in ("nonce", "nc", "cnonce", "qop"))
    values["response"] = md5(f"{ha1}:{middle}:{ha2}")
    return "Digest " + ", ".join(f'{k}="{v}"' for k, v in {**values, **changes}.items())


def ask(authorization: str = "", path: str = PATH, **extra):
    headers = {"Authorization": authorization} if authorization else {}
    return Client().get(path, headers=headers, **extra)


@pytest.mark.django_db
def test_who_says_nothing_is_challenged(cast: Cast):
    response = ask()
    given = challenged(response)
    assert (given["realm"], given["qop"], given["algorithm"]) == ("Duxue", "auth", "MD5")
    assert given["nonce"]
    assert given["opaque"]
    assert "stale" not in given
    assert message(response)


@pytest.mark.django_db
def test_right_credentials_come_in_by_any_case_and_query(cast: Cast, password: str):
    given = challenged(ask())
    assert ask(authorization(given, password)).status_code == 200
    query = f"{PATH}?formID=a%20b&deviceID=1"
    assert ask(authorization(given, password, uri=query), query).status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize(
    "changes",
    [
        {"response": "0" * 32},
        {"uri": "/openrosa/submission"},
        {"realm": "Other"},
        {"opaque": "other"},
        {"qop": "auth-int"},
        {"algorithm": "SHA-256"},
        {"cnonce": "other"},
        {"nc": ""},
        {"nonce": "ffff.0000"},
        {"username": "bruno"},
        {"username": "nobody"},
    ],
)
def test_credentials_that_were_tampered_with_are_refused(cast: Cast, password: str, changes):
    given = challenged(ask())
    response = ask(authorization(given, password, **changes))
    assert "stale" not in challenged(response)


@pytest.mark.django_db
def test_credentials_for_another_address_or_method_are_refused(cast: Cast, password: str):
    given = challenged(ask())
    challenged(ask(authorization(given, password, uri="/openrosa/submission")))
    challenged(ask(authorization(given, password, method="POST")))
    challenged(ask(authorization(given, password, uri="http://[")))


@pytest.mark.django_db
def test_the_persons_own_password_is_not_the_devices(cast: Cast, password: str):
    challenged(ask(authorization(challenged(ask()), PASSWORD)))


@pytest.mark.django_db
@pytest.mark.parametrize(
    "header", ["Digest", "Digest nonsense", 'Digest a="', "Bearer x", "Digest x="]
)
def test_what_cannot_be_read_is_challenged(cast: Cast, header: str):
    challenged(ask(header))


@pytest.mark.django_db
def test_an_old_nonce_is_stale_for_who_is_right_and_nothing_for_who_is_wrong(
    cast: Cast, password: str, monkeypatch
):
    given = challenged(ask())
    moment = clock.now() + timedelta(seconds=digest.NONCE_SECONDS + 1)
    monkeypatch.setattr(clock, "now", lambda: moment)
    assert challenged(ask(authorization(given, password)))["stale"] == "true"
    assert "stale" not in challenged(ask(authorization(given, "wrong")))


@pytest.mark.django_db
def test_a_nonce_of_another_secret_is_stale(cast: Cast, password: str, settings):
    given = challenged(ask())
    given["nonce"] = given["nonce"][:-1] + ("0" if given["nonce"][-1] != "0" else "1")
    assert challenged(ask(authorization(given, password)))["stale"] == "true"


@pytest.mark.django_db
def test_a_revoked_device_is_out_and_the_persons_other_one_stays(
    cast: Cast, device: Device, password: str
):
    other = new_openrosa_password(device=device_of(cast.ada))
    close_session(device)
    given = challenged(ask())
    challenged(ask(authorization(given, password)))
    assert ask(authorization(given, other)).status_code == 200


@pytest.mark.django_db
def test_a_check_costs_one_query_and_no_password_hash(
    cast: Cast, password: str, django_assert_num_queries, monkeypatch
):
    def slow(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a password hash")

    monkeypatch.setattr("django.contrib.auth.hashers.check_password", slow)
    header = authorization(challenged(ask()), password)
    with django_assert_num_queries(2):  # the device; the forms
        assert ask(header).status_code == 200


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


@pytest.mark.django_db
def test_basic_comes_in_over_https_only(cast: Cast, password: str):
    assert ask(basic("ada", password), secure=True).status_code == 200
    refused = ask(basic("ada", password))
    assert "Basic" not in refused["WWW-Authenticate"]
    assert refused.status_code == 401


@pytest.mark.django_db
def test_basic_with_wrong_credentials_is_refused_and_both_ways_are_offered(cast, password: str):
    for header in (basic("ada", PASSWORD), basic("bruno", password), "Basic ***", "Basic /w=="):
        refused = ask(header, secure=True)
        assert refused.status_code == 401
        assert refused["WWW-Authenticate"].startswith("Digest realm=")
        assert ', Basic realm="Duxue"' in refused["WWW-Authenticate"]


@pytest.mark.django_db
def test_digest_works_beside_basics_offer(cast: Cast, password: str):
    given = challenged(Client().get(PATH))
    header = authorization(given, password)
    assert Client().get(PATH, headers={"Authorization": header}, secure=True).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_httpx_speaks_digest_with_the_live_server(
    cast: Cast, password: str, gate, gate_visit: Visit, live_server
):
    with httpx.Client(auth=httpx.DigestAuth("ada", password), base_url=live_server.url) as client:
        forms = client.get(PATH)
        assert forms.status_code == 200
        assert forms.headers["Date"]
        assert "/openrosa/forms/gate/" in forms.text
        assert client.head("/openrosa/submission").status_code == 204
        sent = client.post(
            "/openrosa/submission", files={"xml_submission_file": ("s.xml", gate_xml(gate))}
        )
        assert sent.status_code == 201


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl_speaks_digest_with_the_live_server(
    password: str, gate, gate_visit: Visit, live_server, tmp_path
):
    (tmp_path / "submission.xml").write_bytes(gate_xml(gate))

    def curl(*options: str) -> str:
        command = ["curl", "-sS", "--digest", "-u", f"ada:{password}", "-w", "%{http_code}"]
        done = subprocess.run(
            [*command, *options], capture_output=True, check=True, text=True, timeout=30
        )
        return done.stdout

    assert curl(f"{live_server.url}{PATH}").endswith("</xforms>200")
    assert curl("-I", f"{live_server.url}/openrosa/submission").endswith("204")
    file = f"xml_submission_file=@{tmp_path / 'submission.xml'};type=text/xml"
    assert curl("-F", file, f"{live_server.url}/openrosa/submission").endswith("201")


@pytest.mark.django_db
def test_a_post_without_credentials_stores_nothing(gate, gate_visit: Visit, nothing_stored):
    body = multipart([xml_part(gate_xml(gate))])
    response = Client().post(
        "/openrosa/submission", body, content_type="multipart/form-data; boundary=b0und4ry"
    )
    challenged(response)
    nothing_stored()
