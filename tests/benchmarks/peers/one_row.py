"""FastAPI and SQLAlchemy (async, psycopg): an endpoint that inserts one row and commits."""

import os
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import DateTime, Text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_async_engine(os.environ["PEER_DATABASE_URL"], pool_size=20, max_overflow=12)
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class Job(Base):
    __tablename__ = "peer_jobs"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Submission(BaseModel):
    url: str
    webhook_url: str | None = None


class Accepted(BaseModel):
    job_id: str
    status: str


@asynccontextmanager
async def lifespan(app):
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.post("/jobs", status_code=202)
async def submit(submission: Submission) -> Accepted:
    job = Job(id=str(uuid4()), url=submission.url, status="processing", created_at=datetime.now(UTC))
    async with sessions() as session:
        session.add(job)
        await session.commit()
    return Accepted(job_id=job.id, status=job.status)
