"""What this process calls itself where it holds something for a while."""

from __future__ import annotations

import os
import uuid

PROCESS = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
