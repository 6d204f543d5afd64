"""The api process of production: pages, API and OpenRosa over WSGI."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "server.config.settings")

django = get_wsgi_application()  # sets Django up: what needs models may be imported only below

from server.config.checks import refuse_unfit_start  # noqa: E402
from server.config.requests import WsgiRequest  # noqa: E402
from server.config.short_way import ShortWay  # noqa: E402

django.request_class = WsgiRequest
refuse_unfit_start()

application = ShortWay(django)
