"""How far a job has come, for pages of the site's own (see the tag `job_progress`)."""

from __future__ import annotations

from uuid import UUID

from django.core import signing
from django.http import Http404, HttpRequest, JsonResponse

from jobs.models import Job

_SALT = "jobs.progress"
# So long a page may go on asking, in seconds.
_LONGEST = 7 * 86_400


def token_of(job_id: UUID) -> str:
    """What lets whoever has it ask how far that job has come, and nothing else."""
    return signing.dumps(str(job_id), salt=_SALT, compress=False)


def progress(request: HttpRequest, token: str) -> JsonResponse:
    """The job's state and progress; 404 for a token that nobody here has given, or a job that is
    gone. No arguments, results or errors."""
    try:
        job = Job.objects.get(pk=signing.loads(token, salt=_SALT, max_age=_LONGEST))
    except (signing.BadSignature, Job.DoesNotExist):
        raise Http404("no such job") from None
    told = job.progress
    answer = JsonResponse(
        {
            "state": job.state,
            "told": str(job.get_state_display()),
            "is_finished": job.is_finished,
            "done": None if told is None else told.done,
            "total": None if told is None else told.total,
            "percent": None if told is None else told.percent,
            "message": "" if told is None else told.message,
        }
    )
    answer["Cache-Control"] = "no-store"
    return answer
