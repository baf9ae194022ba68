"""The gateway's memory: tables, migrations and the queries over them."""
