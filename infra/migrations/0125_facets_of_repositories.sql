-- What is pushed to a repository is built for the projects that are linked to it.
CREATE INDEX documents_repositories ON documents USING gin (document_facets(body)) WHERE projection = 'repositories';
