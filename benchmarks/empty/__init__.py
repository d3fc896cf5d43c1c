"""An empty DRF view: what is left of an HTTP figure when there is nothing to do."""
