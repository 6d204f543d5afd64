"""Forms, manifests and their files: only the person's own, hashed as served, at constant cost."""

from __future__ import annotations

import hashlib

import pytest
from lxml import etree

from server.activities.models import Activity, Visit
from server.activities.services.planning import close_activity
from server.instruments.models import Instrument, InstrumentVersion
from server.instruments.services import publish_instrument, upload_xlsform
from server.messaging.models import Device
from server.messaging.sessions import close_session
from tests.cast import Cast
from tests.forms import kitchen_xlsform
from tests.mobile_api.openrosa.conftest import LOGO, CollectorOf, message

pytestmark = pytest.mark.django_db

LIST = "{http://openrosa.org/xforms/xformsList}"
MANIFEST = "{http://openrosa.org/xforms/xformsManifest}"


def md5(content: bytes) -> str:
    return "md5:" + hashlib.md5(content).hexdigest()


def listed(content: bytes) -> list[dict[str, str]]:
    """The list's forms; any element that OpenRosa does not have fails."""
    root = etree.fromstring(content)
    assert root.tag == f"{LIST}xforms"
    assert {each.tag for each in root} <= {f"{LIST}xform"}
    return [{str(leaf.tag).removeprefix(LIST): leaf.text for leaf in form} for form in root]


def files_of(content: bytes) -> dict[str, dict[str, str]]:
    root = etree.fromstring(content)
    assert root.tag == f"{MANIFEST}manifest"
    files = [
        {"type": file.get("type", "")}
        | {str(leaf.tag).removeprefix(MANIFEST): leaf.text for leaf in file}
        for file in root
    ]
    return {file["filename"]: file for file in files}


def test_the_form_list_says_all_that_collect_needs(
    cast: Cast, gate: InstrumentVersion, gate_visit: Visit, collector: CollectorOf
):
    ada = collector(cast.ada)
    response = ada.get("formList")
    assert response["Content-Type"] == "text/xml; charset=utf-8"
    assert response["X-OpenRosa-Version"] == "1.0"
    base = f"http://testserver{ada.root}/forms/gate/{gate.version}"
    assert listed(response.content) == [
        {
            "formID": "gate",
            "name": "校门检查",
            "version": gate.version,
            "hash": md5(gate.xform.encode()),
            "downloadUrl": f"{base}.xml",
            "manifestUrl": f"{base}/manifest",
        }
    ]


def test_the_form_is_served_byte_for_byte_as_hashed(
    cast: Cast, gate_visit: Visit, collector: CollectorOf
):
    ada = collector(cast.ada)
    (form,) = listed(ada.get("formList").content)
    served = ada.get(form["downloadUrl"])
    assert served["Content-Type"] == "text/xml; charset=utf-8"
    assert md5(served.content) == form["hash"]


def test_a_form_without_files_has_no_manifest_address(
    cast: Cast, activity: Activity, collector: CollectorOf
):
    (form,) = listed(collector(cast.ada).get("formList").content)
    assert form["formID"] == "kitchen"
    assert "manifestUrl" not in form


def test_the_manifest_lists_files_and_lists_hashed_as_served(
    cast: Cast, gate_visit: Visit, collector: CollectorOf
):
    ada = collector(cast.ada)
    (form,) = listed(ada.get("formList").content)
    files = files_of(ada.get(form["manifestUrl"]).content)
    assert {name: file["type"] for name, file in files.items()} == {
        "logo.png": "",
        "visits.csv": "entityList",
    }
    for file in files.values():
        assert md5(ada.get(file["downloadUrl"]).content) == file["hash"]
    assert ada.get(files["logo.png"]["downloadUrl"]).content == LOGO


def test_one_form_can_be_asked_for(
    cast: Cast, activity: Activity, gate_visit: Visit, collector: CollectorOf
):
    ada = collector(cast.ada)
    assert len(listed(ada.get("formList").content)) == 2
    assert [form["formID"] for form in listed(ada.get("formList?formID=gate").content)] == ["gate"]
    assert listed(ada.get("formList?formID=other").content) == []


def test_carla_and_the_school_get_no_forms_of_adas_visit(
    cast: Cast, gate: InstrumentVersion, gate_visit: Visit, collector: CollectorOf
):
    gate_visit.activity.visits.exclude(pk=gate_visit.pk).delete()
    for user in (cast.carla, cast.principal):
        stranger = collector(user)
        assert listed(stranger.get("formList").content) == []
        for address in (f"{gate.version}.xml", f"{gate.version}/manifest"):
            refused = stranger.get(f"forms/gate/{address}", status=404)
            assert "表单" in message(refused)
        stranger.get(f"forms/gate/{gate.version}/media/logo.png", status=404)


def test_an_open_instrument_is_for_everybody_and_a_closed_activity_for_nobody(
    cast: Cast, gate_visit: Visit, collector: CollectorOf
):
    close_activity(activity_id=gate_visit.activity_id, by=cast.office)
    assert listed(collector(cast.ada).get("formList").content) == []
    Instrument.objects.update(open=True)
    for user in (cast.ada, cast.principal):
        assert len(listed(collector(user).get("formList").content)) == 1


def test_an_older_version_stays_at_hand_and_a_draft_does_not(
    cast: Cast, kitchen: InstrumentVersion, activity: Activity, collector: CollectorOf
):
    upload_xlsform(by=cast.office, content=kitchen_xlsform(title="食堂检查二"))
    newer = publish_instrument(by=cast.office, form_id="kitchen")
    upload_xlsform(by=cast.office, content=kitchen_xlsform(title="草稿"))
    ada = collector(cast.ada)
    (form,) = listed(ada.get("formList").content)
    assert (form["version"], form["name"]) == (newer.version, "食堂检查二")
    ada.get(f"forms/kitchen/{kitchen.version}.xml")
    ada.get("forms/kitchen/draft.xml", status=404)


def test_what_has_not_changed_is_not_sent_again(
    cast: Cast, gate: InstrumentVersion, gate_visit: Visit, collector: CollectorOf
):
    ada = collector(cast.ada)
    for path in ("formList", f"forms/gate/{gate.version}/manifest"):
        tag = ada.get(path)["ETag"]
        unchanged = ada.get(path, status=304, if_none_match=tag)
        assert unchanged.content == b""
        assert unchanged["X-OpenRosa-Version"] == "1.0"
        ada.get(path, if_none_match='"other"')


def test_the_list_costs_the_same_for_any_number_of_forms(
    cast: Cast, gate_visit: Visit, collector: CollectorOf, django_assert_num_queries
):
    ada = collector(cast.ada)
    with django_assert_num_queries(2):
        ada.get("formList")
    for number in range(5):
        form_id = f"extra{number}"
        upload_xlsform(by=cast.office, content=kitchen_xlsform(form_id), open=True)
        publish_instrument(by=cast.office, form_id=form_id)
    with django_assert_num_queries(2):
        assert len(listed(ada.get("formList").content)) == 6


def test_a_key_that_we_did_not_make_is_unknown(cast: Cast, collector: CollectorOf):
    ada = collector(cast.ada)
    right = ada.root.removeprefix("/key/")
    other = right[:-5] + ("A" if right[-5] != "A" else "B") + right[-4:]
    for key in ("wrong", other, "钥匙"):
        response = ada.client.get(f"/key/{key}/formList")
        assert response.status_code == 404
        assert "密钥不正确" in message(response)
        assert response["X-OpenRosa-Version"] == "1.0"


def test_a_refusal_does_not_write_the_key_to_the_log(cast: Cast, collector: CollectorOf, caplog):
    ada = collector(cast.ada)
    ada.get("forms/none/1.xml", status=404)
    assert ada.root.removeprefix("/key/") not in caplog.text


def test_a_revoked_or_expired_key_opens_nothing(cast: Cast, collector: CollectorOf):
    ada = collector(cast.ada)
    Device.objects.filter(pk=ada.device.pk).update(token_expires_at="2020-01-01T00:00Z")
    assert "过期" in message(ada.get("formList", status=401))
    close_session(ada.device)
    assert "停用" in message(ada.get("formList", status=401))


def test_every_other_address_and_method_is_refused_in_openrosas_words(
    cast: Cast, collector: CollectorOf
):
    ada = collector(cast.ada)
    assert "没有这个地址" in message(ada.get("view/submissionList", status=404))
    response = ada.client.delete(f"{ada.root}/formList")
    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")
    assert "DELETE" in message(response)


def test_the_answer_is_in_the_clients_language(cast: Cast, collector: CollectorOf):
    ada = collector(cast.ada)
    assert ada.get("formList")["Content-Language"] == "zh-hans"
    assert ada.get("formList", accept_language="en-GB,en")["Content-Language"] == "en"


def test_addresses_follow_the_public_one(
    cast: Cast, gate_visit: Visit, collector: CollectorOf, settings
):
    settings.PUBLIC_URL = "https://duxue.example"
    ada = collector(cast.ada)
    (form,) = listed(ada.get("formList").content)
    assert form["downloadUrl"].startswith(f"https://duxue.example{ada.root}/forms/gate/")


def test_a_server_error_is_a_sentence_without_its_cause(
    cast: Cast, collector: CollectorOf, monkeypatch, caplog
):
    def broken(_forms: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("mobile_api.openrosa.views.form_list_xml", broken)
    response = collector(cast.ada).get("formList", status=500)
    assert "稍后重试" in message(response)
    assert b"secret" not in response.content
    assert "secret detail" in caplog.text
