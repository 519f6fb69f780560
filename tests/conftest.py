"""What holds for all tests: no invented input is a failure for having come slowly, since machines are slow at times."""

from hypothesis import HealthCheck, settings

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
