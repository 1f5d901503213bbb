"""What is served where."""

from importlib.util import find_spec

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, include, path


def healthy(request: HttpRequest) -> HttpResponse:
    """Answers as long as the process does; what the stack waits for."""
    return HttpResponse("ok\n", content_type="text/plain")


urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", healthy),
    path("admin/", admin.site.urls),
]
if find_spec("runtime.api.urls"):
    urlpatterns += [path("api/v1/", include("runtime.api.urls"))]
if find_spec("forensics.urls"):
    urlpatterns += [path("", include("forensics.urls"))]
