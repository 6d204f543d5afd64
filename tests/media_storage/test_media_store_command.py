"""`python -m server media_store`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from media_storage.stores import Store


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("action", ["check", "create"])
def test_a_store_that_works_is_told(store: Store, action: str) -> None:
    out = io.StringIO()
    call_command("media_store", action, stdout=out)
    assert "works" in out.getvalue()


def test_a_missing_bucket_is_told(s3_url: str, settings: Any) -> None:
    address, _, options = s3_url.partition("?")
    settings.MEDIA_STORE_URL = f"{address.rpartition('/')[0]}/no-such-bucket?{options}"
    with pytest.raises(CommandError, match="does not work"):
        call_command("media_store", "check")


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, settings: Any) -> None:
    (tmp_path / "file").touch()
    settings.MEDIA_STORE_URL = f"folder://{tmp_path}/file/media"
    with pytest.raises(CommandError, match="does not work"):
        call_command("media_store", "create")
