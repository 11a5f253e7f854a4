-- Sums of plays, so that a year of a whole catalogue is not millions of rows: by day of a workspace, and by month of a recording. Kept by the database itself, in the statement that
-- changes a play, because an older release that is still at work during an update knows nothing of them. Sums are numeric: any two plays may be more than a bigint.
CREATE TABLE catalogue_day_plays (
    workspace integer NOT NULL,
    day date NOT NULL,
    import integer NOT NULL,
    plays bigint NOT NULL,
    spotify numeric NOT NULL,
    spotify_told bigint NOT NULL,
    apple numeric NOT NULL,
    apple_told bigint NOT NULL,
    PRIMARY KEY (workspace, day, import)
);

CREATE TABLE catalogue_month_plays (
    workspace integer NOT NULL,
    month date NOT NULL,
    recording integer NOT NULL,
    import integer NOT NULL,
    plays bigint NOT NULL,
    spotify numeric NOT NULL,
    spotify_told bigint NOT NULL,
    apple numeric NOT NULL,
    apple_told bigint NOT NULL,
    PRIMARY KEY (workspace, month, recording, import)
);

CREATE FUNCTION catalogue_sum_plays() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    moved text := CASE TG_OP
        WHEN 'INSERT' THEN 'SELECT 1 AS sign, * FROM new_plays'
        WHEN 'DELETE' THEN 'SELECT -1 AS sign, * FROM old_plays'
        ELSE 'SELECT 1 AS sign, * FROM new_plays UNION ALL SELECT -1, * FROM old_plays'
    END;
    sums text := 'sum(sign) AS plays, coalesce(sum(sign * spotify), 0) AS spotify, sum(sign * (spotify IS NOT NULL)::integer) AS spotify_told, '
        'coalesce(sum(sign * apple), 0) AS apple, sum(sign * (apple IS NOT NULL)::integer) AS apple_told';
    added text := 'plays = s.plays + excluded.plays, spotify = s.spotify + excluded.spotify, spotify_told = s.spotify_told + excluded.spotify_told, '
        'apple = s.apple + excluded.apple, apple_told = s.apple_told + excluded.apple_told';
BEGIN
    -- In one order, so that two of one workspace wait for each other and not both.
    EXECUTE format(
        'INSERT INTO catalogue_day_plays AS s SELECT workspace, day, import, %s FROM (%s) moved GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 '
        'ON CONFLICT (workspace, day, import) DO UPDATE SET %s', sums, moved, added
    );
    EXECUTE format(
        'INSERT INTO catalogue_month_plays AS s SELECT workspace, date_trunc(''month'', day)::date, recording, import, %s FROM (%s) moved '
        'GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4 ON CONFLICT (workspace, month, recording, import) DO UPDATE SET %s', sums, moved, added
    );
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM catalogue_day_plays s USING (SELECT DISTINCT workspace, day, import FROM old_plays) o
        WHERE s.workspace = o.workspace AND s.day = o.day AND s.import = o.import AND s.plays = 0;
        DELETE FROM catalogue_month_plays s
        USING (SELECT DISTINCT workspace, date_trunc('month', day)::date AS month, recording, import FROM old_plays) o
        WHERE s.workspace = o.workspace AND s.month = o.month AND s.recording = o.recording AND s.import = o.import AND s.plays = 0;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER catalogue_plays_added AFTER INSERT ON catalogue_plays REFERENCING NEW TABLE AS new_plays
FOR EACH STATEMENT EXECUTE FUNCTION catalogue_sum_plays();
CREATE TRIGGER catalogue_plays_changed AFTER UPDATE ON catalogue_plays REFERENCING OLD TABLE AS old_plays NEW TABLE AS new_plays
FOR EACH STATEMENT EXECUTE FUNCTION catalogue_sum_plays();
CREATE TRIGGER catalogue_plays_removed AFTER DELETE ON catalogue_plays REFERENCING OLD TABLE AS old_plays
FOR EACH STATEMENT EXECUTE FUNCTION catalogue_sum_plays();

-- No play changes from the first trigger to the end of this, so that what is summed here is what the triggers go on from.
INSERT INTO catalogue_day_plays
SELECT workspace, day, import, count(*), coalesce(sum(spotify), 0), count(spotify), coalesce(sum(apple), 0), count(apple)
FROM catalogue_plays GROUP BY 1, 2, 3;

INSERT INTO catalogue_month_plays
SELECT workspace, date_trunc('month', day)::date, recording, import, count(*), coalesce(sum(spotify), 0), count(spotify), coalesce(sum(apple), 0), count(apple)
FROM catalogue_plays GROUP BY 1, 2, 3, 4;
