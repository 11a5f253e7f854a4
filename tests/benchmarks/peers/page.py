"""What most services do: FastAPI, SQLAlchemy's async ORM and pydantic serving a page of twenty rows."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from sqlalchemy import DateTime, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_async_engine(os.environ["PEER_DATABASE_URL"], pool_size=8)
session = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class Tree(Base):
    __tablename__ = "peer_trees"
    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(index=True)
    kind: Mapped[str]
    litres: Mapped[int]
    waterings: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class TreeOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: str
    kind: str
    litres: int
    waterings: int


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
    async with session.begin() as filling:
        filling.add_all(
            Tree(
                id=str(n),
                workspace_id="w1",
                kind="apple",
                litres=12,
                waterings=4,
                created_at=datetime(2026, 1, 1, second=n % 60, tzinfo=UTC),
            )
            for n in range(200)
        )
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/trees")
async def trees(workspace_id: str) -> list[TreeOut]:
    async with session() as reading:
        query = select(Tree).where(Tree.workspace_id == workspace_id).order_by(Tree.created_at.desc()).limit(20)
        return [TreeOut.model_validate(tree) for tree in await reading.scalars(query)]
