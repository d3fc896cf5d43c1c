"""A cache of answers that never shows less than who asks has seen: values that stand under versions, in Redis."""
