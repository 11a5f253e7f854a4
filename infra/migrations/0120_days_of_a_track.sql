-- A year of a track is read from the index alone: its rows lie day by day, so each of its days was a page of its own.
ALTER TABLE catalogue_plays DROP CONSTRAINT catalogue_plays_pkey;
ALTER TABLE catalogue_plays ADD CONSTRAINT catalogue_plays_pkey
    PRIMARY KEY (recording, day) INCLUDE (spotify, apple, import);
