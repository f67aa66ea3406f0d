"""Operations: what can be done to a row, and the one way to do it.

`runs.request` writes the wish, `perform` does it: the intent (RUNNING + lock, and what stood at Douyin) is committed
before the call, the outcome after it. An outcome that nobody knows is read back by the operation's `proof`; nothing is
ever resent blindly.
"""

from app.operations.proof import Proof, Work
from app.operations.registry import Look, NoParams, operation

__all__ = ["Look", "NoParams", "Proof", "Work", "operation"]
