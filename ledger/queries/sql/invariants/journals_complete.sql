-- Journals without exactly the lines 1 to entry_count, and lines without a journal.
SELECT j.client_id, coalesce(j.id, e.journal_id) AS journal_id, j.entry_count, coalesce(e.lines, 0) AS lines
FROM ledger_journal j
FULL JOIN (
    SELECT journal_id, count(DISTINCT line) AS lines, count(*) AS rows, max(line) AS last_line
    FROM ledger_entry
    GROUP BY journal_id
) e ON e.journal_id = j.id
WHERE (j.entry_count, j.entry_count, j.entry_count) IS DISTINCT FROM (e.lines, e.rows, e.last_line)
