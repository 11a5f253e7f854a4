-- Audio Units are of macOS alone: jobs of other platforms that asked for them had no runner that could take them.
UPDATE build_jobs SET formats = array_remove(formats, 'au')
WHERE (build_id, platform) IN (
    SELECT build_id, platform FROM build_jobs
    WHERE platform <> 'macos' AND state <> 'over' AND 'au' = ANY(formats)
    LIMIT 1000
);
