"""Check that the translations are in step: every text of the source has its English, compiled.

The product runs without gettext's tools, so the compiled catalogues are committed with the sources.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from gettext import GNUTranslations
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("server", "mobile_api", "media_storage")
LOCALE = Path("server", "locale")


def main() -> int:
    if shutil.which("msgfmt") is None:
        print("messages: not checked, gettext is not installed", file=sys.stderr)
        return 1 if os.environ.get("CI") else 0
    complaints = [*_not_translated(), *_not_compiled()]
    for complaint in complaints:
        print(f"messages: {complaint}", file=sys.stderr)
    if complaints:
        print("Run `make messages`, translate what is new, and commit both files.", file=sys.stderr)
    return 1 if complaints else 0


def _not_translated() -> list[str]:
    """Collect the texts anew in a copy, as `make messages` would, and see what lacks its English."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for package in PACKAGES:
            shutil.copytree(ROOT / package, copy / package)
        (copy / LOCALE).mkdir(exist_ok=True)
        collect = (sys.executable, "-m", "server", "makemessages", "--locale=en", "--verbosity=0")
        _run(*collect, cwd=copy)
        return [
            f"{text!r} has no translation in {catalogue.relative_to(copy)}"
            for catalogue in sorted((copy / LOCALE).glob("*/LC_MESSAGES/*.po"))
            for text in [*_texts(catalogue, "--untranslated"), *_texts(catalogue, "--only-fuzzy")]
        ]


def _texts(catalogue: Path, selection: str) -> list[object]:
    """The msgids of some entries of a catalogue, which msgen compiles as their own translation."""
    chosen = _run("msgattrib", selection, "--no-obsolete", "--clear-fuzzy", str(catalogue))
    return list(
        _meaning(_run("msgfmt", "--output-file=-", "-", given=_run("msgen", "-", given=chosen)))
    )


def _not_compiled() -> list[str]:
    return [
        f"{catalogue.relative_to(ROOT).with_suffix('.mo')} is out of step"
        for catalogue in sorted((ROOT / LOCALE).glob("*/LC_MESSAGES/*.po"))
        if _meaning(_compiled(catalogue)) != _meaning(_committed(catalogue))
    ]


def _compiled(catalogue: Path) -> bytes:
    return _run("msgfmt", "--check-format", "--output-file=-", str(catalogue))


def _committed(catalogue: Path) -> bytes:
    compiled = catalogue.with_suffix(".mo")
    return compiled.read_bytes() if compiled.exists() else b""


def _meaning(compiled: bytes) -> dict[object, str]:
    """The texts of a compiled catalogue; its bytes differ between versions of msgfmt."""
    if not compiled:
        return {}
    catalogue = GNUTranslations(io.BytesIO(compiled))
    texts: dict[object, str] = vars(catalogue)["_catalog"]
    return {msgid: text for msgid, text in texts.items() if msgid}


def _run(*command: str, cwd: Path = ROOT, given: bytes = b"") -> bytes:
    done = subprocess.run(command, cwd=cwd, input=given, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr.decode()}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
