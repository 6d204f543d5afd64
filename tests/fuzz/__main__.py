"""`python -m tests.fuzz TARGET [libFuzzer's options]`, with the interpreter of `make fuzz`.

The fuzzer has an environment of its own; the product and what it needs come from .venv.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(__file__).parent / "corpus"
WORK = ROOT / "var" / "fuzz"

TIMEOUT_SECONDS = 5
"""For one input: the slowest of the corpus takes some milliseconds."""
MEMORY_MB = 512
"""For the whole process; it begins at about 200 with the product loaded and coverage measured."""
MAX_INPUT_BYTES = 16_384

sys.path.extend(map(str, (ROOT / ".venv/lib").glob("python3*/site-packages")))
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"


def main(name: str, *options: str) -> None:
    import atheris
    import django

    with atheris.instrument_imports(include=["server.instruments", "mobile_api", "multipart"]):
        django.setup()
        from tests.fuzz.targets import TARGETS

    found = WORK / name
    found.mkdir(parents=True, exist_ok=True)
    arguments = [
        f"tests.fuzz {name}",
        str(found),
        str(CORPUS / name),
        f"-dict={CORPUS / name}.dict",
        f"-timeout={TIMEOUT_SECONDS}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-max_len={MAX_INPUT_BYTES}",
        f"-artifact_prefix={WORK}/{name}-",
        "-print_final_stats=1",
        *options,
    ]
    atheris.Setup(arguments, TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
