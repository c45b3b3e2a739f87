"""Endings of files that hold pictures or name them; imported by the command line, so nothing heavy is imported here."""

LISTS = (".txt", ".lst", ".list")
TARS = (".tar", ".tar.gz", ".tgz")
PARQUET = (".parquet", ".pq")
MANY = LISTS + TARS + PARQUET
