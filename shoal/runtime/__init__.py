"""What every server shares: settings, lifecycle, clock, logs, fault points. Knows no role."""
