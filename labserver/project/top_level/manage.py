#!/usr/bin/env python
"""Django's commands for this project, with the settings for development unless DJANGO_SETTINGS_MODULE names others."""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings.development")
    execute_from_command_line(sys.argv)
