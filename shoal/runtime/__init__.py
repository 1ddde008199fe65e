"""The parts that all servers share: settings, lifecycle, clock, logs, fault points. Knows no role."""
