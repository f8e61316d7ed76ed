"""A site of Wagtail's, whose tasks run on jobs with nothing but TASKS set."""
