"""The tables. A change here needs a migration beside it; a test compares the two.

Times are whole Unix milliseconds and money is whole 10^-12 units, so both databases hold the same integers.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _limits() -> list[sa.Column[int]]:
    return [
        sa.Column("requests_per_minute", sa.BigInteger),
        sa.Column("tokens_per_minute", sa.BigInteger),
        sa.Column("concurrent_requests", sa.BigInteger),
    ]


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


projects = sa.Table(
    "projects",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("name", sa.String, nullable=False, unique=True),
    sa.Column("cache_group", sa.String),
    sa.Column("weight", sa.Double, nullable=False, server_default="1"),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    *_limits(),
    sa.Column("service_tiers", sa.JSON(none_as_null=True)),
    sa.Column("store_prompts", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("retention_days", sa.BigInteger, nullable=False, server_default="30"),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("project_id", sa.ForeignKey("projects.id"), nullable=False, index=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("models", sa.JSON(none_as_null=True)),
    sa.Column("cache_group", sa.String),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("revoked_at", sa.BigInteger),
    *_limits(),
    sa.Column("service_tiers", sa.JSON(none_as_null=True)),
)

# A key has one secret, or two while a rotation overlaps.
key_secrets = sa.Table(
    "key_secrets",
    metadata,
    sa.Column("prefix", sa.String, primary_key=True),
    sa.Column("key_id", sa.ForeignKey("api_keys.id"), nullable=False, index=True),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger),
)

budgets = sa.Table(
    "budgets",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("subject_kind", sa.String, nullable=False),
    sa.Column("subject_id", sa.String, nullable=False),
    sa.Column("period", sa.String, nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("enforced", sa.Boolean, nullable=False),
    sa.Column("webhook_url", sa.String),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("subject_kind", "subject_id", "period"),
)

budget_spend = sa.Table(
    "budget_spend",
    metadata,
    sa.Column("budget_id", sa.ForeignKey("budgets.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("period_start", sa.BigInteger, primary_key=True),
    sa.Column("spent", sa.BigInteger, nullable=False),
)

# An outbox: written in the transaction that crosses the threshold, delivered afterwards.
budget_events = sa.Table(
    "budget_events",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("budget_id", sa.ForeignKey("budgets.id", ondelete="CASCADE"), nullable=False),
    sa.Column("period_start", sa.BigInteger, nullable=False),
    sa.Column("event", sa.String, nullable=False),
    sa.Column("spent", sa.BigInteger, nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_attempt_at", sa.BigInteger, index=True),
    sa.Column("delivered_at", sa.BigInteger),
    sa.UniqueConstraint("budget_id", "period_start", "event"),
)

processes = sa.Table(
    "processes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("started_at", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

# No foreign keys to keys and projects: a bill outlives what it was made for, and environment keys are in no
# table.
ledger = sa.Table(
    "ledger",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("request_id", sa.String, nullable=False, index=True),
    sa.Column("process_id", sa.Integer, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("key_id", sa.String, nullable=False),
    sa.Column("project_id", sa.String, nullable=False),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("user", sa.String),
    sa.Column("metadata", sa.Text),
    sa.Column("service_tier", sa.String, nullable=False),
    sa.Column("opened_at", sa.BigInteger, nullable=False),
    sa.Column("closed_at", sa.BigInteger),
    sa.Column("ttft_ms", sa.BigInteger),
    sa.Column("duration_ms", sa.BigInteger),
    sa.Column("finish_reason", sa.String),
    _count("reserved_tokens"),
    _count("reserved_cost"),
    _count("input_tokens"),
    _count("cached_tokens"),
    _count("output_tokens"),
    _count("reasoning_tokens"),
    _count("accepted_draft_tokens"),
    _count("cost"),
    sa.Index(None, "key_id", "opened_at"),
    sa.Index(None, "project_id", "opened_at"),
    sa.Index(None, "opened_at"),
    sa.Index(
        "ix_ledger_open",
        "process_id",
        sqlite_where=sa.text("status = 'open'"),
        postgresql_where=sa.text("status = 'open'"),
    ),
)

# What was asked and answered, only of projects that want it kept.
request_contents = sa.Table(
    "request_contents",
    metadata,
    sa.Column("entry_id", sa.ForeignKey("ledger.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("project_id", sa.String, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("prompt", sa.Text, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("reasoning", sa.Text, nullable=False),
    sa.Column("tool_calls", sa.Text, nullable=False),
    sa.Column("truncated", sa.Boolean, nullable=False),
    sa.Index(None, "project_id", "created_at"),
)
