-- Queues that hold jobs, for people to see and pause; a queue that has its row keeps it.
INSERT INTO jobs_queue (name)
SELECT unnest(%(names)s::text[])
ON CONFLICT (name) DO NOTHING
