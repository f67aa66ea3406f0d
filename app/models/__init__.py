"""Every table, in one import: Alembic and the tenancy tables need all mappers."""

from __future__ import annotations

from app.models.api_key import ApiKey, PasswordLink, TwoFactor
from app.models.inbound import InboundEvent, InboundState, RefusedPush, RefusedPushCount
from app.models.kit.audit import AuditEntry
from app.models.kit.notification import (
    ChannelKind,
    DeliveryState,
    Notification,
    NotificationChannel,
    NotificationDelivery,
    NotificationRule,
)
from app.models.kit.operation import Door, OperationRun, RunState
from app.models.kit.saved_view import SavedView
from app.models.kit.task import Task, TaskKind, TaskState
from app.models.kit.user import User
from app.models.merchant import Industry, Merchant, MerchantState, SubjectType
from app.models.mini_program import AuthorizationLink, AuthorizationReturn, AuthorizationState, LinkState, MiniProgram
from app.models.records import ApiCall, Circuit, Heartbeat, JobRun, LoginAttempt, PaceBucket, WebSession
from app.models.template import Template, TemplateApp
from app.models.third_party_app import AuthorizationCode, Credential, CredentialKind, ThirdPartyApp
from app.models.version import Version, VersionEvent, VersionState

__all__ = [
    "ApiCall",
    "ApiKey",
    "AuditEntry",
    "AuthorizationCode",
    "AuthorizationLink",
    "AuthorizationReturn",
    "AuthorizationState",
    "ChannelKind",
    "Circuit",
    "Credential",
    "CredentialKind",
    "DeliveryState",
    "Door",
    "Heartbeat",
    "InboundEvent",
    "InboundState",
    "Industry",
    "JobRun",
    "LinkState",
    "LoginAttempt",
    "Merchant",
    "MerchantState",
    "MiniProgram",
    "Notification",
    "NotificationChannel",
    "NotificationDelivery",
    "NotificationRule",
    "OperationRun",
    "PaceBucket",
    "PasswordLink",
    "RefusedPush",
    "RefusedPushCount",
    "RunState",
    "SavedView",
    "SubjectType",
    "Task",
    "TaskKind",
    "TaskState",
    "Template",
    "TemplateApp",
    "ThirdPartyApp",
    "TwoFactor",
    "User",
    "Version",
    "VersionEvent",
    "VersionState",
    "WebSession",
]
