"""`run`: the product on embedded defaults with a demo county. One process, one port, Ctrl-C stops it."""

import logging
from argparse import ArgumentParser
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from server.core.worker import working_in_threads

LOGINS = (
    ("office", "教育督导办 county office"),
    ("town1", "镇街督导组 town group"),
    ("inspector1", "责任督学 inspector"),
    ("school1", "学校联系人 school contact"),
    ("expert1", "督导专家 expert"),
)


class Command(BaseCommand):
    help = "Set up the embedded world, load the demo county and serve it until Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError("run is for the embedded world; see docs/deploy.md for production.")
        settings.VAR_DIR.mkdir(parents=True, exist_ok=True)
        settings.STATIC_ROOT.mkdir(
            exist_ok=True
        )  # served from the packages; an empty folder is quiet
        call_command("migrate", verbosity=0)
        call_command("load_demo", verbosity=0)
        self._greet(options["host"], options["port"])
        with working_in_threads():
            self._serve(options["host"], options["port"])
        self.stdout.write("已停止 stopped")

    def _serve(self, host: str, port: int) -> None:
        logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
        uvicorn.run(
            "server.config.asgi:application",
            host=host,
            port=port,
            log_config=None,
            log_level="warning",
            timeout_graceful_shutdown=30,  # as granian's in production; a second Ctrl-C does not wait
            ws="websockets-sansio",
            ws_max_size=4096,
            ws_per_message_deflate=False,
        )

    def _greet(self, host: str, port: int) -> None:
        address = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"  # noqa: S104 - compared, not bound
        lines = [
            "",
            f"  督学 Duxue            {address}/",
            f"  管理后台 web admin     {address}/admin/",
            f"  接口文档 API docs      {address}/api/docs/",
            f"  ODK Collect           {address}/openrosa",
            f"  数据目录 data          {settings.VAR_DIR}",
            "",
            f"  演示账号 demo log-ins, 密码 password: {settings.DEMO_PASSWORD}",
            *(f"    {name:<12} {role}" for name, role in LOGINS),
            "",
            f"  另开一个终端 in a second terminal: make phone{'' if port == 8000 else f' PORT={port}'}",
            "  按 Ctrl-C 停止 press Ctrl-C to stop",
            "",
        ]
        self.stdout.write("\n".join(lines))
        self.stdout.flush()
