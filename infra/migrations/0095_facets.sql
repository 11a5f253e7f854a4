-- Lists that are filtered: what a document is found by is in its `facets`, a list of texts. Each projection that is
-- searched has an index of its own over them.
CREATE FUNCTION document_facets(body bytea) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ARRAY(SELECT jsonb_array_elements_text(convert_from(body, 'UTF8')::jsonb -> 'facets'))
$$;
CREATE INDEX documents_beats ON documents USING gin (document_facets(body)) WHERE projection = 'beats';
