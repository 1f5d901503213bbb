"""What is served where."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from runtime.api import health

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.alive),
    path("readyz", health.ready),
    path("admin/", admin.site.urls),
    path("api/v1/", include("runtime.api.urls")),
    path("", include("forensics.urls")),
]
