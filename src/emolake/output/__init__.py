"""What is shown to a person: tables, notices and progress."""
