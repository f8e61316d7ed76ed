-- The classes of errors with which jobs have failed, in their order: one probe of the index for each.
WITH RECURSIVE class AS (
    (
        SELECT exception_class_path
        FROM jobs_attempt
        WHERE outcome IN ('failed', 'lost')
        ORDER BY exception_class_path
        LIMIT 1
    )
    UNION ALL
    SELECT following.exception_class_path
    FROM class
    CROSS JOIN LATERAL (
        SELECT exception_class_path
        FROM jobs_attempt
        WHERE outcome IN ('failed', 'lost')
          AND exception_class_path > class.exception_class_path
        ORDER BY exception_class_path
        LIMIT 1
    ) AS following
)
SELECT exception_class_path FROM class WHERE exception_class_path <> '' LIMIT 50
