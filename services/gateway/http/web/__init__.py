"""The web page: one page for people, served as it stands here."""
