"""No pages: what runs in the background is what matters here."""

urlpatterns: list[object] = []
