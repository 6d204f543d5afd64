"""Web sockets, and in the embedded world everything else too, over ASGI.

In production the live process serves only /ws/ from here; api answers the rest over WSGI.
"""

import os
from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application
from django.urls import path, re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "server.config.settings")

http = get_asgi_application()  # sets Django up: models may be imported only below

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402

from server.config.checks import refuse_unfit_start  # noqa: E402
from server.config.limits import BodyLimit  # noqa: E402
from server.config.requests import AsgiRequest  # noqa: E402
from server.messaging.consumers import InboxConsumer, OverviewConsumer  # noqa: E402

http.request_class = AsgiRequest
refuse_unfit_start()


class Nowhere(AsyncWebsocketConsumer):  # type: ignore[misc] # untyped library
    """Any other address: the handshake is refused, without a traceback in the log."""

    async def connect(self) -> None:
        await self.close()


def of_both(consumer: Any) -> Any:
    """A socket without a subprotocol is a page's, which a cookie opens: its origin is checked. A foreign
    page does not have a bearer token, and native apps send no Origin at all.
    """
    of_pages = AllowedHostsOriginValidator(consumer)

    async def choose(scope: Any, receive: Any, send: Any) -> None:
        await (consumer if scope["subprotocols"] else of_pages)(scope, receive, send)

    return choose


websocket = URLRouter(
    [
        path("ws/v1/inbox", of_both(InboxConsumer.as_asgi())),
        path("ws/v1/overview", of_both(OverviewConsumer.as_asgi())),
        re_path("", Nowhere.as_asgi()),
    ]
)

application = ProtocolTypeRouter({"http": BodyLimit(http), "websocket": websocket})
