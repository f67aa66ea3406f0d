"""What a request meets before and behind every view: guard, headers, static files, logs, the server's worker."""
