"""What all pages share: the style sheet and the template environment. Each page's own templates are with its texts."""
