"""Speaking to Douyin as somebody: tokens, pace, the breaker, and the log of calls."""
