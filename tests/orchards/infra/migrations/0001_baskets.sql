-- Baskets that stand about, until somebody puts them away.
CREATE TABLE orchard_baskets (
    basket_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    left_at timestamptz NOT NULL DEFAULT now()
);
-- Two from before anybody counted: one of long ago, and one of today.
INSERT INTO orchard_baskets (left_at) VALUES (now() - interval '1 year'), (now());
