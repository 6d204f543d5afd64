"""The product's settings for tests: a world of its own in a temporary folder, cheap passwords.

SQLite unless DATABASE_URL says otherwise; everything else is embedded, whatever the shell exports.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_CHOSEN_BY_TESTS = (
    "CHANNEL_URL",
    "DEBUG",
    "DUXUE_ENV",
    "JPUSH_URL",
    "MAIL_FROM",
    "MAIL_URL",
    "MEDIA_STORE_OLD_URL",
    "MEDIA_STORE_URL",
    "OUTBOUND_PRIVATE_NETWORKS",
    "PUBLIC_URL",
    "PUSH_URL",
    "RECEIPT_KEY",
    "RECEIPT_KEY_FILE",
    "ROBOT_HOSTS",
    "SECRETS_KEYS",
    "SECRETS_KEYS_FILE",
    "SMS_URL",
    "VAPID_PRIVATE_KEY",
    "VAPID_PRIVATE_KEY_FILE",
    "VAPID_SUBJECT",
)
for _name in _CHOSEN_BY_TESTS:
    os.environ.pop(_name, None)

_folder = tempfile.mkdtemp(prefix="duxue-tests-")
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
os.environ["VAR_DIR"] = _folder

from server.config.settings import *  # noqa: E402, F403 - the environment comes first
from server.config.settings import DATABASES, STATIC_ROOT  # noqa: E402

# A live server warns of a folder that is not there, and warnings are errors.
STATIC_ROOT.mkdir(parents=True, exist_ok=True)

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

if "sqlite" in DATABASES["default"]["ENGINE"]:
    # A file, not memory: threads that race need connections of their own, as in the product.
    DATABASES["default"]["TEST"] = {"NAME": str(Path(_folder) / "test.sqlite3")}
    # Power cuts are not under test here, and each sync costs a disk's turn.
    DATABASES["default"]["OPTIONS"]["init_command"] = (
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
    )
