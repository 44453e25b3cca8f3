"""/admin/v1/projects."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from chatwright.accounts.contents import Contents
from chatwright.accounts.projects import ProjectChanges, Projects
from chatwright.accounts.store import Store
from chatwright.api.admin.body import answer, changes_of, query, read
from chatwright.api.admin.objects import (
    ChangeProject,
    CreateProject,
    ForgottenContents,
    ProjectList,
    project_object,
)


class ProjectRoutes:
    """Every operation on projects."""

    def __init__(self, store: Store, projects: Projects) -> None:
        self._store = store
        self._projects = projects
        self._contents = Contents(store)

    async def create(self, request: Request) -> Response:
        """Make a project."""
        given = changes_of(await read(request, CreateProject))
        return answer(project_object(await self._store.run(self._projects.create, **given)), 201)

    async def list(self, request: Request) -> Response:
        """All projects."""
        query(request, [])
        found = await self._store.run(self._projects.list)
        return answer(ProjectList([project_object(project) for project in found]))

    async def get(self, request: Request) -> Response:
        """One project, by id or name."""
        found = await self._store.run(self._projects.get, request.path_params["project"])
        return answer(project_object(found))

    async def change(self, request: Request) -> Response:
        """Change what is given."""
        changes = ProjectChanges(**changes_of(await read(request, ChangeProject)))
        changed = await self._store.run(self._projects.update, request.path_params["project"], changes)
        return answer(project_object(changed))

    async def forget(self, request: Request) -> Response:
        """Delete all prompts and answers that are kept of it."""
        count = await self._store.run(self._contents.forget_project, request.path_params["project"])
        return answer(ForgottenContents(count))
