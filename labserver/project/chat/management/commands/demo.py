"""`manage.py demo`: the tables, and three users to try the chat with."""

import secrets

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.core.management import BaseCommand, CommandError, call_command
from django.db import connection

USERS = ("alice", "bob", "carol")


class Command(BaseCommand):
    help = "Make the tables, and the users alice, bob and carol with one password, which is printed."

    def add_arguments(self, parser):
        parser.add_argument("--password", help="instead of a random one")

    def handle(self, *args, password, **options):
        User = get_user_model()
        is_new = User._meta.db_table not in connection.introspection.table_names()
        if not is_new and User.objects.exclude(username__in=USERS).exists():
            raise CommandError(
                "this site has users of its own, and one of them may be an alice: nothing was changed. Name another "
                "file with LABSERVER_DATABASE, or make a user with: manage.py createsuperuser"
            )
        call_command("migrate", verbosity=0, interactive=False)
        password = password or secrets.token_urlsafe(9)
        encoded = make_password(password)  # once for all three: it is slow on purpose
        for name in USERS:
            User.objects.update_or_create(username=name, defaults={"password": encoded, "is_active": True})
        self.stdout.write(f"The users {', '.join(USERS)} are there, each with the password: {password}")
