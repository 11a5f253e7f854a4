-- Builds are found by their project and their status.
CREATE INDEX documents_builds ON documents USING gin (document_facets(body)) WHERE projection = 'builds';
