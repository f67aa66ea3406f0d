"""Who may what: who asks, roles, logging in, sessions, second factors, keys, accounts."""
