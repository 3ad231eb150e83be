# PATTERN[:] [USER@]HOST[:PORT]
'@example\.org$': @store
^[a-k]: store
