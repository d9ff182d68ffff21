"""base.py is common to all; development.py and production.py are what DJANGO_SETTINGS_MODULE may name."""
