"""Prompts and answers of projects that want them kept, and for how long."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Every project that exists keeps nothing."""
    op.add_column(
        "projects", sa.Column("store_prompts", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.add_column("projects", sa.Column("retention_days", sa.BigInteger, nullable=False, server_default="30"))
    op.create_table(
        "request_contents",
        sa.Column("entry_id", sa.String, nullable=False),
        sa.Column("project_id", sa.String, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        *[
            sa.Column(name, sa.Text, nullable=False)
            for name in ("prompt", "answer", "reasoning", "tool_calls")
        ],
        sa.Column("truncated", sa.Boolean, nullable=False),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["ledger.id"], "fk_request_contents_entry_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("entry_id", name="pk_request_contents"),
    )
    op.create_index(
        "ix_request_contents_project_id_created_at", "request_contents", ["project_id", "created_at"]
    )


def downgrade() -> None:
    """Forget everything kept."""
    op.drop_table("request_contents")
    with op.batch_alter_table("projects") as batch:
        batch.drop_column("retention_days")
        batch.drop_column("store_prompts")
