"""Upload a file, watch its import, look at the statistic."""

from __future__ import annotations

import csv
from pathlib import Path

from django.core.cache import cache
from django.db import transaction
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET

from jobs import enqueue

from .models import Country, Import
from .tasks import begin_import

DATA = Path(__file__).parent / "data"


class ImportForm(ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Import
        fields = ("file",)


def index(request: HttpRequest) -> HttpResponse:
    form = ImportForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        # The row and its job commit together: a worker never sees one without the other.
        with transaction.atomic():
            upload = form.save()
            upload.job_id = enqueue(begin_import, upload.pk).pk
            upload.save(update_fields=["job_id"])
        return redirect("airports:import", upload.pk)
    context = {
        "form": form,
        "imports": Import.objects.order_by("-pk")[:10],
        "countries": Country.objects.filter(airports__gt=0)[:15],
    }
    return render(request, "airports/index.html", context)


@require_GET
def show_import(request: HttpRequest, pk: int) -> HttpResponse:
    upload = get_object_or_404(Import, pk=pk)
    return render(request, "airports/import.html", {"upload": upload})


@require_GET
def import_progress(request: HttpRequest, pk: int) -> JsonResponse:
    """What the page asks for while it is looked at."""
    upload = get_object_or_404(Import, pk=pk)
    return JsonResponse(
        {
            "total": upload.total,
            "done": upload.done,
            "stored": upload.stored,
            "refused": upload.refused,
            "problem": upload.problem,
            "finished": upload.finished_at is not None,
        }
    )


@require_GET
def country_names(request: HttpRequest) -> JsonResponse:
    """The countries' names; busy at the first request for each import, as servers are."""
    if cache.add(f"names-{request.GET.get('import')}", True, timeout=3600):
        return JsonResponse({"error": "busy"}, status=503, headers={"Retry-After": "1"})
    with (DATA / "countries.tsv").open(encoding="utf-8", newline="") as file:
        return JsonResponse(dict(csv.reader(file, delimiter="\t")))
