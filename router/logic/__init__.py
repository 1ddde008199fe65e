"""What the router decides: plans, outcomes, gathering, health. Pure; refuses every effect."""
