"""Programs that show how Shoal is used. They are no part of the package that is installed."""
