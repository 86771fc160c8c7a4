"""The HTTP door: REST under /v1, event streams, and what else speaks HTTP. Ends, as every producer, in kith.intake.

    python -m producers.api        kith api        a role of `kith up`

`app.create_app` makes the application from `doors.Doors`; `run` is the composition root. No torch.
"""
