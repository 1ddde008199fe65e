"""The decisions of the router: plans, outcomes, gathering, health. Pure: no effects."""
