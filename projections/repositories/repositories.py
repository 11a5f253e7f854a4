"""Which projects have their source in a repository."""

from __future__ import annotations

from domain.kernel import Event
from domain.repositories.repositories import RepositoryLinked, RepositoryUnlinked
from domain.studio.projects import NoSuchProject
from projections.kernel import Document, Projection, projection


class RepositoryDocument(Document):
    """The source of one project. `facets` are what it is found by."""

    project_id: str
    facets: tuple[str, ...] = ()


def called(repo_full_name: str) -> str:
    """The facet of a repository; its name is the same in small and in large letters."""
    return f"repository:{repo_full_name.casefold()}"


def evolve(repository: RepositoryDocument | None, event: Event) -> RepositoryDocument | None:
    """The source after one more event; without one there is no document."""
    match event:
        case RepositoryLinked():
            return RepositoryDocument(project_id=event.project_id, facets=(called(event.repo_full_name),))
        case RepositoryUnlinked():
            return None
    return repository


repository_documents: Projection[RepositoryDocument] = projection(
    "repositories",
    RepositoryDocument,
    on={RepositoryLinked: "project_id", RepositoryUnlinked: "project_id"},
    evolve=evolve,
    begins=(RepositoryLinked,),
    absent=NoSuchProject,
    stream="repository",
)
