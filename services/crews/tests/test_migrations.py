from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from kasal_crews.service import SERVICE
from kasal_db.database import create_engine
from sqlalchemy import Connection


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"include_name": lambda name, *_: name != "alembic_version"})
    found: list[object] = compare_metadata(context, SERVICE.metadata)
    return found


async def test_the_migrations_make_the_tables_that_the_code_expects(migrated_url: str) -> None:
    engine = create_engine(migrated_url, SERVICE.name)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()
