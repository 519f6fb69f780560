"""Options and SLO profiles, parsed, validated and frozen."""
