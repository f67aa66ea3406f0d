"""The three errors that cross floors, drawn as a tree.

DouzhouError
├── Refused       our own rule says no: nothing was sent
│   ├── TooSoon     not yet: nothing was sent, and it may be done by itself in a while
│   └── NotGranted  the merchant has not granted what it needs
├── DouyinError   Douyin answered no: the request had no effect
└── NoAnswer      nobody answered: whether it had an effect is unknown (unless `sent` is False)
    └── Held      not sent: what it needs is known to be away, and somebody looks when it is back
"""

from __future__ import annotations

from enum import StrEnum

from app.i18n.sentence import Foreign, Sentence, ours, say


class ErrorKind(StrEnum):
    """What class a refusal by Douyin belongs to; decides who has to act and whether a retry helps."""

    PARAMETER = "parameter"  # our request is wrong: a person or we must change it
    STATE = "state"  # the app or version is not in a state that allows it
    AUTHORIZATION = "authorization"  # authorisation or permission set is missing
    TOKEN = "token"  # a token is wrong or expired: refresh and send again
    RATE = "rate"  # too often: wait and send again
    QUOTA = "quota"  # a daily or total quota is used up
    PLATFORM = "platform"  # our third-party app or address is refused: every app of it is affected
    LINK = "link"  # the settings of our authorisation page: only the making of links is affected
    CAPABILITY = "capability"  # the app lacks an ability (能力) that has to be applied for, or it was taken away
    PERSON = "person"  # the app's user stands in the way, not the app: final for that user, no matter for the app
    FAULT = "fault"  # our own fault: never retried, told to whoever runs the product
    RETIRED = "retired"  # the platform no longer has this call: what needs it cannot be done
    BANNED = "banned"  # app or subject is banned
    SYSTEM = "system"  # Douyin's own fault: try later
    ANSWER = "answer"  # an answer that does not fit the contract
    UNKNOWN = "unknown"  # a code that is in no table


class DouzhouError(Exception):
    """Base of the errors that cross floors; `str()` of each is safe to show and to log."""


class Refused(DouzhouError):
    """Our rule says no. `message` is a Chinese sentence that says what to do; `field` names the input, if one."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class DeclarationError(Exception):
    """What a part of the product says of itself cannot be right: the application does not start. One sentence each."""


class TooSoon(Refused):
    """Our rule says: not yet. The same may be done by itself after `seconds`."""

    def __init__(self, message: str, *, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class NotGranted(Refused):
    """The merchant has not granted the permission set that this call needs: Douyin is not asked."""


class DouyinError(DouzhouError):
    """Douyin answered with an error code: the request had no effect. Its message is a sentence, or Douyin's words.

    `retry_after` is in seconds and None where a retry cannot help; `advice` is a Chinese sentence for a person.
    """

    def __init__(
        self,
        message: str,
        *,
        err_no: int,
        kind: ErrorKind = ErrorKind.UNKNOWN,
        advice: str = "",
        log_id: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{err_no} {message}")
        self.message = message if isinstance(message, Sentence) else Foreign(message)  # Douyin's words are not ours
        self.err_no = err_no
        self.kind = kind
        self.advice = advice
        self.log_id = log_id
        self.retry_after = retry_after


class NoAnswer(DouzhouError):
    """No usable answer came back. `sent` is False only when the request certainly never left this machine."""

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.sent = sent


def failure_words(error: DouzhouError) -> str:
    """What an error says, as its `str()`: of ours a sentence to be said in any language."""
    message = ours(getattr(error, "message", str(error)) or type(error).__name__)
    return say("{code} {message}", code=error.err_no, message=message) if isinstance(error, DouyinError) else message


class Held(NoAnswer):
    """The call was not sent: what it needs is known to be away. `hold` names it, as rows that wait for it do.

    No attempt is used up by it: whoever ends the hold lets the waiting ones go on.
    """

    def __init__(self, message: str, *, hold: str) -> None:
        super().__init__(message, sent=False)
        self.hold = hold
