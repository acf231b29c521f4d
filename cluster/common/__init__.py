"""What every room of the machine side shares: file locks, atomic writes, redaction of secrets."""
