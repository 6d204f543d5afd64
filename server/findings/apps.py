from datetime import timedelta

from django.apps import AppConfig


class FindingsConfig(AppConfig):
    name = "server.findings"
    label = "findings"

    def ready(self) -> None:
        from server.activities.services.deriving import chain_joined, register_deriver
        from server.core.schedule import every
        from server.findings import evidence
        from server.findings.derive import derive_findings, move_findings
        from server.findings.services import tell_overdue

        evidence.start()
        register_deriver(derive_findings)
        chain_joined.connect(move_findings)
        every("findings.overdue", timedelta(minutes=10), tell_overdue)
