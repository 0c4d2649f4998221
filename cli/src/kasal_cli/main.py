"""The `kasal` command: every subcommand is a short function in the file of its noun."""

import typer

from . import accounts, doctoring, executions, servers

app = typer.Typer(
    name="kasal",
    add_completion=False,
    help="Design crews of AI agents, run them and watch them work.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
keys = typer.Typer(help="Master keys that encrypt stored secrets.", no_args_is_help=True)
admin = typer.Typer(help="Users, from the machine that holds the database.", no_args_is_help=True)
app.add_typer(keys, name="keys")
app.add_typer(admin, name="admin")

app.command()(servers.dev)
app.command()(servers.serve)
app.command()(servers.worker)
app.command()(servers.up)
app.command()(servers.migrate)
app.command()(accounts.login)
app.command()(doctoring.doctor)
app.command()(executions.run)
app.command()(executions.runs)
app.command()(executions.logs)
app.command()(executions.cancel)
keys.command("generate")(accounts.generate_key)
keys.command("rotate")(accounts.rotate_keys)
admin.command("create-user")(accounts.create_user)
