"""The Douyin sandbox: an HTTP server with the platform's protocol and rules; imports nothing of app/."""
