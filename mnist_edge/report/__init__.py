"""Results as tables, JSON, HTML, Markdown and JUnit XML."""
