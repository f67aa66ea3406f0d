"""One's own account: logging in, the profile, the second factor, keys, and the API's page."""
