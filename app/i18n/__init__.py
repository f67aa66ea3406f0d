"""Chinese is the language of the source; gettext catalogues say it in others."""
