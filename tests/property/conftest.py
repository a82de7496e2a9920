"""Property tests run the same examples every time; ``--hypothesis-profile=hunt`` looks for new ones."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# No deadline: a loaded machine is slow, and slow is not wrong.
_STEADY = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile("steady", max_examples=60, derandomize=True, **_STEADY)
settings.register_profile("hunt", max_examples=2_000, **_STEADY)
if settings.get_current_profile_name() != "hunt":
    settings.load_profile("steady")
