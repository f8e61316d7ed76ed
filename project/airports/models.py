"""What the site keeps: airports, countries, and the imports that brought them."""

from __future__ import annotations

from django.core.validators import FileExtensionValidator
from django.db import models


class Import(models.Model):
    """One uploaded file, and how far its import has come."""

    file = models.FileField(upload_to="imports", validators=[FileExtensionValidator(["csv"])])
    uploaded_at = models.DateTimeField(auto_now_add=True)
    # The job that began it. A plain id: pruning old jobs never touches the site's own rows.
    job_id = models.UUIDField(null=True, editable=False)
    # Lines of the file, known once the import has begun.
    total = models.IntegerField(null=True, editable=False)
    stored = models.IntegerField(default=0, editable=False)
    refused = models.IntegerField(default=0, editable=False)
    # Why the file as a whole cannot be imported.
    problem = models.TextField(default="", editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)

    def __str__(self) -> str:
        return str(self.file.name)

    @property
    def done(self) -> int:
        return self.stored + self.refused


class RefusedLine(models.Model):
    """A line that is not in the table, and why."""

    of = models.ForeignKey(Import, on_delete=models.CASCADE, related_name="refused_lines")
    number = models.IntegerField()
    reason = models.TextField()

    class Meta:
        ordering = ("of", "number")

    def __str__(self) -> str:
        return f"line {self.number}: {self.reason}"


class Airport(models.Model):
    code = models.CharField(max_length=3, primary_key=True)
    name = models.CharField(max_length=200)
    city = models.CharField(max_length=200, blank=True)
    country = models.CharField(max_length=2, db_index=True)
    elevation = models.IntegerField(help_text="In feet.")
    latitude = models.FloatField()
    longitude = models.FloatField()
    timezone = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"{self.code} {self.name}"


class Country(models.Model):
    code = models.CharField(max_length=2, primary_key=True)
    name = models.CharField(max_length=100, blank=True)
    airports = models.IntegerField(default=0)
    counted_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-airports", "code")
        verbose_name_plural = "countries"

    def __str__(self) -> str:
        return self.name or self.code
