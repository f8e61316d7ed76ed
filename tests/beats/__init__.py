"""Several beats over many schedules, some killed and some stopped; then each tick is counted."""
