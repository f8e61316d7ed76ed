"""The control room under django-unfold: with settings and a database of its own."""
