"""Settings of the project. Everything a deployment changes comes from the environment; see docs/configuration.md."""

from importlib.util import find_spec
from pathlib import Path

import django_stubs_ext
from environ import Env

from aetheris_project import addresses, logs, secret
from runtime.stack.places import Places

django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
PLACES = Places()
env = Env()

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="") or secret.kept_in(PLACES.checkout / ".local" / "secret_key")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# Agents live in packages of their own, named here and found on the path.
AETHERIS_APPS = env.list("AETHERIS_APPS", default=["examples.refund"] if find_spec("examples.refund") else [])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework.authtoken",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_filters",
    "django_htmx",
    "django_celery_beat",
    "runtime.apps.RuntimeConfig",
    "forensics.apps.ForensicsConfig",
    *AETHERIS_APPS,
]

MIDDLEWARE = [
    "forensics.hostile.HostileData",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "aetheris_project.urls"
WSGI_APPLICATION = "aetheris_project.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# PostgreSQL is the only truth. A connection that stops answering is given up within ten seconds, and a
# process that stops inside a transaction gives its locks back within ten seconds as well.
DATABASE_URL = env.str("DATABASE_URL", default="") or PLACES.database_url
DATABASES = {"default": addresses.database(DATABASE_URL)}
DATABASES["default"]["CONN_MAX_AGE"] = None
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASES["default"]["OPTIONS"] = {
    "connect_timeout": 5,
    "prepare_threshold": 0,  # of `runtime.statements`; Django's cursors do not prepare
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": env.str("AETHERIS_PROCESS", default="aetheris"),
    "options": " ".join(
        f"-c {name}={value}"
        for name, value in {
            "idle_in_transaction_session_timeout": "10s",
            "lock_timeout": "5s",
            "statement_timeout": "30s",
            "client_connection_check_interval": "5s",
        }.items()
    ),
    **DATABASES["default"]["OPTIONS"],
}

REDIS_URL = env.str("REDIS_URL", default="") or PLACES.redis_url
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
    }
}

LOGGING = logs.configuration(
    env.str("AETHERIS_LOG_FORMAT", default="console"), env.str("AETHERIS_LOG_LEVEL", default="INFO")
)
logs.configure()

# What the runtime itself reads, through runtime/conf.py; its defaults are there.
AETHERIS: dict[str, object] = {
    "REDIS_URL": REDIS_URL,
    "MODEL_BASE_URL": env.str("OPENAI_BASE_URL", default=""),
    "MODEL_API_KEY": env.str("OPENAI_API_KEY", default=""),
    "MODEL_NAME": env.str("OPENAI_MODEL", default="gpt-4o-mini"),
    "CAPABILITIES": tuple(env.list("AETHERIS_CAPABILITIES", default=[])),
    "MODEL_PRICES": env.json("OPENAI_PRICES", default={}) or None,
    "PUBLIC_URL": env.str("AETHERIS_PUBLIC_URL", default="http://localhost:8000"),
    "CRASH_AT": env.str("AETHERIS_CRASH_AT", default=""),
}

# A message is a hint, never the state: it is acknowledged early, never retried, carries ids alone, and a lost
# one is sent again by the sweeper. Deadlines are rows, therefore no time limits here.
CELERY_BROKER_URL = addresses.broker(REDIS_URL)
CELERY_RESULT_BACKEND = None
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_REJECT_ON_WORKER_LOST = False
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_QUEUES: dict[str, dict[str, str]] = {
    name: {} for name in ("realtime", "default", "background", "heavy")
}
CELERY_TASK_CREATE_MISSING_QUEUES = True
CELERY_WORKER_CONSUMER = "aetheris_project.consumer:Consumer"
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_DISABLE_PREFETCH = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CONNECTION_TIMEOUT = 2
CELERY_BROKER_POOL_ACQUIRE_TIMEOUT = 2.0
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 5,
    "retry_on_timeout": True,
    "global_keyprefix": "aetheris:",
    "queue_order_strategy": "priority",  # in the order of --queues: realtime before default before background
    "priority_steps": [0],  # a step's priority is a column; messages have none
    "client_name": "aetheris",
    "ack_emulation": False,  # spares four commands for each message; one that a worker took with it is sent again
}
CELERY_BEAT_SCHEDULER = "aetheris_project.beat:OnlyScheduler"
CELERY_TIMEZONE = "UTC"
# Connections live as long as the thread or process that opened them: see aetheris_project/celery.py.
CELERY_DB_REUSE_MAX = 1_000_000_000

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "trace:login"
LOGIN_REDIRECT_URL = "trace:jobs"
LOGOUT_REDIRECT_URL = "trace:login"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / ".local" / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True  # serves from the apps themselves; run collectstatic where that is too slow

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Aetheris",
    "DESCRIPTION": "Submit jobs to agents, follow their steps and events, and answer what they wait for.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "OAS_VERSION": "3.1.0",
    "ENUM_NAME_OVERRIDES": {
        "JobStatus": "runtime.states.JobStatus",
        "StepStatus": "runtime.states.StepStatus",
        "EntryState": "runtime.states.EntryState",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "runtime.api.docs.add_problems",
    ],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}
