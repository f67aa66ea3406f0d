"""Every table, in one import: Alembic and the tenancy tables need all mappers."""

from __future__ import annotations

from app.models.audit import AuditEntry
from app.models.inbound import InboundEvent, InboundState, RefusedPush
from app.models.merchant import Industry, Merchant, MerchantState, SubjectType
from app.models.mini_program import AuthorizationLink, AuthorizationState, LinkState, MiniProgram
from app.models.operation import Door, OperationRun, RunState
from app.models.records import ApiCall, JobRun, LoginAttempt, PaceBucket, WebSession
from app.models.template import Template, TemplateApp
from app.models.third_party_app import AuthorizationCode, Credential, CredentialKind, ThirdPartyApp
from app.models.user import User
from app.models.version import Version, VersionEvent, VersionState

__all__ = [
    "ApiCall",
    "AuditEntry",
    "AuthorizationCode",
    "AuthorizationLink",
    "AuthorizationState",
    "Credential",
    "CredentialKind",
    "Door",
    "InboundEvent",
    "InboundState",
    "Industry",
    "JobRun",
    "LinkState",
    "LoginAttempt",
    "Merchant",
    "MerchantState",
    "MiniProgram",
    "OperationRun",
    "PaceBucket",
    "RefusedPush",
    "RunState",
    "SubjectType",
    "Template",
    "TemplateApp",
    "ThirdPartyApp",
    "User",
    "Version",
    "VersionEvent",
    "VersionState",
    "WebSession",
]
