from datetime import timedelta

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class FindingsConfig(AppConfig):
    name = "server.findings"
    label = "findings"
    verbose_name = _("督导工作")

    def ready(self) -> None:
        from server.activities.services.deriving import chain_joined, register_deriver
        from server.core.schedule import every
        from server.findings import escalating, evidence
        from server.findings.derive import derive_findings, move_findings
        from server.findings.reminding import remind

        evidence.start()
        escalating.start()
        register_deriver(derive_findings)
        chain_joined.connect(move_findings)
        every("findings.reminders", timedelta(minutes=10), remind)
