urlpatterns: list[str] = []
