-- Since when cookies are kept: those that no profile has are swept up after an hour.
ALTER TABLE browser_profiles ADD COLUMN IF NOT EXISTS kept_at timestamptz NOT NULL DEFAULT now();
