"""What a file, a folder and a machine are: the types that every stage shares."""
