from django.db import migrations, models
from django.db.models.functions import Now


def derive_again(apps, schema_editor):
    """What stands already gets its item as everything derived does: by the worker, idempotently."""
    submissions = apps.get_model("activities", "Submission").objects
    submissions.filter(attachments__isnull=False, work_dead_at=None).update(work_due_at=Now())


class Migration(migrations.Migration):

    dependencies = [
        ('activities', '0002_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='submissionattachment',
            name='item',
            field=models.CharField(blank=True, db_default='', default='', editable=False, max_length=200, verbose_name='检查项'),
        ),
        migrations.RunPython(derive_again, migrations.RunPython.noop, elidable=True),
    ]
