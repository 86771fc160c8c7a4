"""What the application is made of, in the order in which it is described."""

from producers.api.compreface.routers import router as compreface
from producers.api.pages.routers import router as pages
from producers.api.v1 import (
    audit,
    calibration,
    cameras,
    decisions,
    events,
    galleries,
    health,
    jobs,
    migrations,
    models,
    strangers,
    subjects,
    system,
    templates,
    uploads,
    webhooks,
)

ROUTERS = (
    *(
        noun.router
        for noun in (
            *(jobs, uploads, decisions, galleries, subjects, templates, calibration, models, migrations),
            *(events, strangers, cameras, webhooks, audit, system, health),
        )
    ),
    compreface,
    pages,
)
