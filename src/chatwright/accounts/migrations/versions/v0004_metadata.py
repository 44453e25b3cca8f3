"""The labels that clients give their requests."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Null, as in every row that exists, is a request without labels."""
    op.add_column("ledger", sa.Column("metadata", sa.Text))


def downgrade() -> None:
    """Forget them."""
    with op.batch_alter_table("ledger") as batch:
        batch.drop_column("metadata")
