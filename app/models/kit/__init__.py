"""The tables that every console has, whatever it is of: people, the log, runs, tasks, notices, kept lists.

They know no table of the product, which stands beside this folder and is what no part of the console may name.
"""
