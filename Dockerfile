FROM python:3.13-slim
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
RUN useradd --create-home app && mkdir -p /data/media /data/mail && chown -R app /data
COPY --chown=app . .
USER app
# The worker's supervisor is PID 1 of its container: it stops on SIGTERM and reaps its runners.
CMD ["python", "manage.py", "runserver", "--noreload", "0.0.0.0:8000"]
