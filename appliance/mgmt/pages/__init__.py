"""HTML: one file per noun; templates are in templates/."""
