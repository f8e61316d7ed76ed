def count_by_country() -> int:
    return 0
